"""What was recorded, read while others write."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from attrs import fields

from pointsman import RecordedRequest, RecordQuery, RecordsUnavailable

from .schema import check, version_of

COLUMNS = tuple(one.name for one in fields(RecordedRequest))

_CONDITIONS = {
    "since": "time >= :since",
    "until": "time < :until",
    "task": "task = :task",
    "model": "model = :model",
    "path": "path = :path",
    "rollout": "rollout = :rollout",
    "outcome": "outcome = :outcome",
    "unit": "CAST(unit AS TEXT) = :unit",
    "request_id": "request_id LIKE :request_id || '%'",
}
"""By the fields of a query."""


def recorded(file: Path, query: RecordQuery) -> Iterator[RecordedRequest]:
    """The requests that a query asks for, the oldest first. Raises `RecordsUnavailable`."""
    if not file.exists():
        where = "" if file.is_absolute() else f" in {Path.cwd()}"
        raise RecordsUnavailable(f"there is no {file}{where} yet; it is made by the first request of a router")
    given = {name: value for name in _CONDITIONS if (value := getattr(query, name)) is not None}
    where = " AND ".join(["outcome IS NOT NULL", *(_CONDITIONS[name] for name in given)])
    newest = f"SELECT {', '.join(COLUMNS)} FROM requests WHERE {where} ORDER BY time DESC LIMIT :limit"  # noqa: S608 - names of ours
    limit = -1 if query.limit is None else query.limit
    try:
        with closing(sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True)) as connection:
            check(version_of(connection))
            rows = connection.execute(f"SELECT * FROM ({newest}) ORDER BY time", {**given, "limit": limit})  # noqa: S608 - as above
            for row in rows:
                yield _request(row)
    except sqlite3.Error as error:
        raise RecordsUnavailable(f"{file} cannot be read: {error}; is it a file of metrics_sqlite?") from error


def _request(row: tuple[Any, ...]) -> RecordedRequest:
    values: dict[str, Any] = dict(zip(COLUMNS, row, strict=True))
    values["fell_back"] = bool(values["fell_back"])
    return RecordedRequest(**values)
