"""Values out of JSON that somebody else wrote: any type can stand anywhere."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

EMPTY: Mapping[str, object] = {}

_decode: Callable[[bytes | str], Any] = msgspec.json.Decoder().decode


def read_json(data: bytes | str, otherwise: Callable[[Any], object] = json.loads) -> object:
    """What `json.loads` reads. Raises what `otherwise` does.

    msgspec is several times as quick. What it refuses and servers write, halves of a character, `NaN`, bytes that are
    no UTF-8, is read by `otherwise`.
    """
    try:
        return _decode(data)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return otherwise(data)


def as_mapping(value: object) -> Mapping[str, object]:
    """The object, or an empty one."""
    # No `cast`, here and below: it is a call, for every value of every chunk.
    return value if isinstance(value, dict) else EMPTY  # pyright: ignore[reportUnknownVariableType]


def as_list(value: object) -> Sequence[object]:
    """The array, or an empty one."""
    return value if isinstance(value, list) else ()  # pyright: ignore[reportUnknownVariableType]


def as_text(value: object) -> str | None:
    """The text, or None where it is none or empty."""
    return value if isinstance(value, str) and value else None


def as_count(value: object) -> int | None:
    """A number of something: a whole number from 0 up."""
    if type(value) is int:
        return value if value >= 0 else None
    if value is None or isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float) and not value.is_integer():
        return None
    return int(value) if value >= 0 else None


def as_amount(value: object) -> float | None:
    """An amount of something, as a number or as text: finite, from 0 up."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        amount = float(value)
    except (ValueError, OverflowError):
        return None
    return amount if math.isfinite(amount) and amount >= 0 else None
