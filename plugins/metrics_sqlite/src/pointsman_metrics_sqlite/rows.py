"""Events as rows of the tables. No prompt, completion, key or URL is in an event, and the server's words stay out."""

import json
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

from attrs import asdict

from pointsman.events import AttemptFinished, AttemptStarted, Event, RequestFinished, RequestStarted
from pointsman.records import RecordedRequest, plain

Row: TypeAlias = dict[str, Any]

_LARGEST = 2**63 - 1


def row_of(event: Event) -> tuple[str, Row]:
    """The table and the row of an event. A finished request or attempt has the key of the one that began."""
    table, row = _row_of(event)
    return table, {name: _storable(value) for name, value in row.items()}


def _row_of(event: Event) -> tuple[str, Row]:
    match event:
        case RequestStarted():
            return "requests", {**_common(event), "path": event.path}
        case RequestFinished():
            recorded = asdict(RecordedRequest.of(event), recurse=False)
            return "requests", {**recorded, **_common(event), "fell_back": int(recorded["fell_back"])}
        case AttemptStarted() | AttemptFinished():
            return "attempts", _attempt(event)
        case _:
            data = plain(event)
            return "events", {"time": data.pop("time"), "kind": _snake(type(event).__name__), "data": json.dumps(data)}


def _storable(value: Any) -> Any:
    """What SQLite can take: one row that it cannot would keep all others waiting."""
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "backslashreplace").decode()  # half a character
    return str(value) if isinstance(value, int) and abs(value) > _LARGEST else value


def _common(event: RequestStarted | RequestFinished) -> Row:
    return {
        "request_id": event.request_id,
        "time": event.time,
        "task": event.task,
        "unit": event.unit,
        "labels": json.dumps(dict(event.labels), ensure_ascii=False),
    }


def _attempt(event: AttemptStarted | AttemptFinished) -> Row:
    row: Row = {
        "request_id": event.request_id,
        "number": event.number,
        "time": event.time,
        "model": event.target.model,
        "backend": event.target.backend,
        "wire_model": event.target.name,
    }
    if isinstance(event, AttemptStarted):
        return row
    failure, usage = event.failure, event.usage
    return row | {
        "outcome": event.outcome,
        "duration": event.duration,
        "time_to_first_token": event.time_to_first_token,
        "failure": failure and failure.kind,
        "blames": failure and failure.blames,
        "status": failure and failure.status,
        "message": failure and failure.message,
        "input_tokens": usage and usage.input_tokens,
        "output_tokens": usage and usage.output_tokens,
        "cost": usage and usage.cost,
        "served_model": event.served_model,
        "provider": event.provider,
    }


def statement(table: str, row: Mapping[str, Any]) -> str:
    """Writes a row in place of an earlier one with its key."""
    return f"INSERT OR REPLACE INTO {table} ({', '.join(row)}) VALUES ({', '.join(f':{name}' for name in row)})"  # noqa: S608 - names of ours


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
