"""How long a server asks us to stay away, wherever it says so."""

import re
import time
from collections.abc import Iterable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

from .untrusted import as_amount, as_mapping, as_text

LONGEST = 24 * 60 * 60.0
"""Seconds. The longest wait that is believed: a daily allowance comes back within a day."""

_HEADERS = ("retry-after-ms", "retry-after", "llm_provider-retry-after-ms", "llm_provider-retry-after")
"""The proxy's own first, then what LiteLLM passes on of its upstream's headers."""

_DIGITS = re.compile(r"\d{1,15}(?:\.\d{1,9})?", re.ASCII)
_IN_TEXT = re.compile(r"(?:try again|retry) (?:in|after) ((?:\d{1,9}(?:\.\d{1,9})?\s?[a-z]+\s?)+)", re.IGNORECASE)
_PART = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s?([a-z]+)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONG_UNITS = {"millisecond": "ms", "second": "s", "sec": "s", "minute": "m", "min": "m", "hour": "h"}
_MILLISECONDS_EPOCH = 1e11
_SECONDS_EPOCH = 1e9
_PUSHED_BACK = (429, 503)


def retry_after(status: int, headers: Mapping[str, str], error: Mapping[str, object], message: str) -> float | None:
    """Seconds, from the first place that has a usable value; None where none has.

    Looked at in this order: `retry-after-ms`, `retry-after` (seconds or an HTTP date), both again as
    LiteLLM relays them, `error.availability.retry_after`, `error.metadata.retry_after`, the same
    headers inside `error.metadata.headers`, and the text "try again in ..." of a 429 or 503.
    Negative, infinite and unreadable values are passed over; long ones become `LONGEST`.
    """
    found = _in_headers(_HEADERS, headers, headers)
    if found is None and error:
        found = _in_body(error, headers)
    if found is None and status in _PUSHED_BACK:
        found = _in_text(message)
    return None if found is None else clamped(found)


def until_reset(value: object, headers: Mapping[str, str]) -> float | None:
    """Seconds until the time of an `X-RateLimit-Reset`: milliseconds or seconds since 1970, else a duration."""
    number = float(value) if isinstance(value, str) and _DIGITS.fullmatch(value.strip()) else as_amount(value)
    if number is None:
        return None
    if number < _SECONDS_EPOCH:
        return clamped(number)
    moment = number / 1000 if number >= _MILLISECONDS_EPOCH else number
    return clamped(moment - _now(headers))


def clamped(seconds: float) -> float:
    """From 0 to `LONGEST`."""
    return min(max(seconds, 0.0), LONGEST)


def _now(headers: Mapping[str, str]) -> float:
    """By the server's own clock, where it tells it."""
    return _date(headers.get("date")) or time.time()


def _in_headers(names: Iterable[str], given: Mapping[str, object], headers: Mapping[str, str]) -> float | None:
    """What the first of these headers that says it asks for. The clock is that of the response's own `headers`."""
    for name in names:
        if (value := given.get(name)) is not None and (seconds := _header(name, value, headers)) is not None:
            return seconds
    return None


def _in_body(error: Mapping[str, object], headers: Mapping[str, str]) -> float | None:
    metadata = as_mapping(error.get("metadata"))
    for value in (as_mapping(error.get("availability")).get("retry_after"), metadata.get("retry_after")):
        if value is not None and (seconds := as_amount(value)) is not None:
            return seconds
    inner_headers = {name.lower(): value for name, value in as_mapping(metadata.get("headers")).items()}
    return _in_headers(_HEADERS[:2], inner_headers, headers) if inner_headers else None


def _header(name: str, value: object, headers: Mapping[str, str]) -> float | None:
    """One header's value in seconds. Dates are compared with the server's own clock."""
    if isinstance(value, (int, float)):
        value = str(value)
    text = (as_text(value) or "").strip()
    if _DIGITS.fullmatch(text):
        return float(text) / 1000 if name.endswith("-ms") else float(text)
    moment = None if name.endswith("-ms") else _date(text)
    return max(moment - _now(headers), 0.0) if moment is not None else None


def _date(text: str | None) -> float | None:
    if not text or "," not in text:
        return None
    try:
        moment = parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError, IndexError, AttributeError):
        return None


def _in_text(message: str) -> float | None:
    """The duration in "Try again in 7 seconds" or "try again in 6m0.5s"."""
    found = _IN_TEXT.search(message)
    if not found:
        return None
    seconds = 0.0
    for number, word in _PART.findall(found[1].lower()):
        unit = _LONG_UNITS.get(word.removesuffix("s"), word)
        if unit not in _UNITS:
            break
        seconds += float(number) * _UNITS[unit]
    else:
        return seconds
    return seconds or None
