"""The body that is sent: what the caller gave, on the model that the target names."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import cast

from pointsman.chat import JSON, Request
from pointsman.errors import Failure
from pointsman.targets import Target


def chat_body(target: Target, request: Request, extra_body: Mapping[str, object]) -> dict[str, JSON]:
    """A chat completions body.

    Of two values for one field the last one holds, in this order: the request's parameters, the
    backend's `extra_body`, the request's `extra_body`.
    """
    body: dict[str, JSON] = {"model": target.name, "messages": request.messages}
    if request.stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    for fields in (request.parameters, extra_body, request.extra_body):
        if fields:  # what is no dictionary takes its time, empty or not
            body.update(cast("Mapping[str, JSON]", fields))
    return body


def encode(body: Mapping[str, object]) -> bytes | Failure:
    """The body as JSON in UTF-8, or a failure that names the key whose value JSON cannot carry."""
    try:
        return _ENCODER.encode(body).encode()
    except (TypeError, ValueError, RecursionError):
        # Not the exception's own text: it can quote the value.
        return Failure.of(
            "bad_request", f"the request cannot be sent: JSON cannot carry {_culprit(body)}", delivery="not_sent"
        )


def _plain(value: object) -> object:
    """The mappings and sequences that `json` does not know."""
    if isinstance(value, Mapping):
        return dict(cast("Mapping[object, object]", value))
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return list(cast("Sequence[object]", value))
    raise TypeError


# Made once: `json.dumps` with choices of one's own makes one at every call.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)


def _culprit(value: object) -> str:
    try:
        path = _bad_path(value)
    except RecursionError:
        path = None
    return f"what stands at {path[:200]}" if path else "it, because it is nested too deeply or contains itself"


def _bad_path(value: object) -> str | None:
    """The key path of the first value that JSON cannot carry, or None."""
    if isinstance(value, Mapping):
        for key, inner in cast("Mapping[object, object]", value).items():
            if not isinstance(key, str | int | float | bool | None) or not _utf8(str(key)):
                return "(a key that is not text)"
            if (path := _bad_path(inner)) is not None:
                return _joined(str(key), path)
        return None
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview):
        for index, inner in enumerate(cast("Sequence[object]", value)):
            if (path := _bad_path(inner)) is not None:
                return _joined(f"[{index}]", path)
        return None
    if isinstance(value, float):
        return None if math.isfinite(value) else ""
    if isinstance(value, str):
        return None if _utf8(value) else ""
    return None if isinstance(value, int | None) else ""


def _joined(key: str, path: str) -> str:
    return f"{key}{path}" if not path or path.startswith("[") else f"{key}.{path}"


def _utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
