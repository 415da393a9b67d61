"""What was recorded, read while others write."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from attrs import fields

from pointsman import RecordedRequest, RecordQuery, RecordsUnavailable

from .schema import check

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
    "request_id": "request_id >= :request_id AND request_id < :request_id || char(1114111)",
}
"""By the fields of a query. An id may be cut short."""


def recorded(file: Path, query: RecordQuery) -> Iterator[RecordedRequest]:
    """The requests that a query asks for, the oldest first. Raises `RecordsUnavailable`."""
    if not file.exists():
        where = "" if file.is_absolute() else f" in {Path.cwd()}"
        raise RecordsUnavailable(f"there is no {file}{where} yet; it is made by the first request of a router")
    given = {name: value for name in _CONDITIONS if (value := getattr(query, name)) is not None}
    where = " AND ".join(["outcome IS NOT NULL", *(_CONDITIONS[name] for name in given)])
    found = f"SELECT {', '.join(COLUMNS)} FROM requests WHERE {where} ORDER BY time"  # noqa: S608 - names of ours
    if query.limit is not None:
        given["limit"] = query.limit
        found = f"SELECT * FROM ({found} DESC LIMIT :limit) ORDER BY time"  # noqa: S608 - as above
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            if check(connection) == 0:
                raise RecordsUnavailable(f"nothing is recorded in {file} yet; it is filled by the requests of a router")
            for row in connection.execute(found, given):
                yield _request(row)
    except sqlite3.Error as error:
        raise RecordsUnavailable(
            f"{file} cannot be read: {error}; who reads it needs to be allowed to write beside it"
            if "unable to open" in str(error) or "readonly" in str(error)
            else f"{file} cannot be read: {error}"
        ) from error


def _request(row: tuple[Any, ...]) -> RecordedRequest:
    values: dict[str, Any] = dict(zip(COLUMNS, row, strict=True))
    values["fell_back"] = bool(values["fell_back"])
    return RecordedRequest(**values)
