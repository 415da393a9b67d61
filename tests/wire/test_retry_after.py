"""How long a server asks us to stay away, wherever it says so."""

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman_openai_compatible.retry_after import LONGEST, retry_after, until_reset

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
DATE = format_datetime(NOW, usegmt=True)


def read(
    headers: dict[str, str] | None = None, error: dict[str, object] | None = None, message: str = ""
) -> float | None:
    return retry_after(429, httpx.Headers(headers or {}), error or {}, message)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": " 0.5 "}, 0.5),
        ({"retry-after": "0"}, 0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "1"}, 1),
        ({"llm_provider-retry-after": "7"}, 7),
        ({"retry-after": "2", "llm_provider-retry-after": "7"}, 2),
        ({"llm_provider-retry-after-ms": "700"}, 0.7),
    ],
)
def test_headers_are_read_in_order(headers: dict[str, str], seconds: float) -> None:
    assert read(headers) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-1",
        "nan",
        "NaN",
        "inf",
        "-inf",
        "1e9999",
        "1e3",
        "0x10",
        "7 seconds",
        "soon",
        "1,5",
        "7;",
        "9" * 400,
        "Tue, 99 Nov 2026 12:00:00 GMT",
        "Tue, 24 Nov 99999999 12:00:00 GMT",
        "," * 50,
        "Tue, 24 Nov",
        "2026-11-24T12:00:00Z",
    ],
)
def test_what_is_no_duration_is_passed_over(text: str) -> None:
    assert read({"retry-after": text}) is None
    assert read({"retry-after": text, "llm_provider-retry-after": "3"}) == 3


@pytest.mark.parametrize("text", ["86401", "999999999999"])
def test_a_long_wait_is_cut_to_a_day(text: str) -> None:
    assert read({"retry-after": text}) == LONGEST == 24 * 60 * 60


def test_a_date_is_compared_with_the_servers_own_clock() -> None:
    later = format_datetime(NOW + timedelta(seconds=90), usegmt=True)
    assert read({"retry-after": later, "date": DATE}) == 90


def test_a_date_is_compared_with_our_clock_where_the_server_tells_no_time() -> None:
    later = format_datetime(datetime.fromtimestamp(time.time() + 60, UTC), usegmt=True)
    seconds = read({"retry-after": later})
    assert seconds is not None
    assert 55 < seconds <= 60


def test_a_date_that_has_passed_means_now() -> None:
    assert read({"retry-after": format_datetime(NOW - timedelta(hours=1), usegmt=True), "date": DATE}) == 0


def test_a_date_far_ahead_is_cut_to_a_day() -> None:
    assert read({"retry-after": format_datetime(NOW + timedelta(days=9), usegmt=True), "date": DATE}) == LONGEST


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        ({"availability": {"retry_after": 12}}, 12),
        ({"availability": {"retry_after": "12.5"}}, 12.5),
        ({"availability": {"retry_after": None}}, None),
        ({"availability": {"retry_after": True}}, None),
        ({"availability": {"retry_after": -3}}, None),
        ({"availability": {"retry_after": float("nan")}}, None),
        ({"availability": {"retry_after": 10**400}}, None),
        ({"availability": [1]}, None),
        ({"metadata": {"headers": {"Retry-After": "9"}}}, 9),
        ({"metadata": {"headers": {"Retry-After": 9}}}, 9),
        ({"metadata": {"retry_after": 4}}, 4),
    ],
)
def test_the_error_itself_can_say_it(error: dict[str, object], seconds: float | None) -> None:
    assert read(error=error) == seconds


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        ("No deployments available for selected model, Try again in 7 seconds. Passed model=x", 7),
        ("Please try again in 20s. Visit the docs", 20),
        ("Please try again in 129ms.", 0.129),
        ("Please try again in 6m0s.", 360),
        ("try again in 1h2m3.5s", 3723.5),
        ("Please retry after 30 seconds.", 30),
        ("Try again in 2 minutes", 120),
        ("Try again in 3 fortnights", None),
        ("Try again in a while", None),
        ("Try again in -5 seconds", None),
        ("Try again in 999999 hours", LONGEST),
    ],
)
def test_the_text_of_a_429_is_the_last_resort(message: str, seconds: float | None) -> None:
    assert read(message=message) == seconds
    assert read({"retry-after": "1"}, message=message) == 1


def test_the_text_of_another_status_can_quote_anybody_and_is_not_believed() -> None:
    assert retry_after(400, httpx.Headers(), {}, "Try again in 7 seconds") is None


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (str(int(NOW.timestamp() * 1000) + 30_000), 30),
        (int(NOW.timestamp()) + 30, 30),
        ("45", 45),
        (str(int(NOW.timestamp() * 1000) - 30_000), 0),
        (str(int(NOW.timestamp() * 1000) + 30 * 86_400_000), LONGEST),
        (None, None),
        ("7s", None),
        (True, None),
        ([], None),
    ],
)
def test_a_reset_time_is_milliseconds_or_seconds_since_1970_or_a_duration(value: object, seconds: float | None) -> None:
    assert until_reset(value, httpx.Headers({"date": DATE})) == seconds


@given(st.text(), st.text(max_size=80), st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists))
def test_nothing_that_a_server_writes_breaks_it(header: str, message: str, value: object) -> None:
    headers = {"retry-after": header, "retry-after-ms": header, "date": header}
    error: dict[str, object] = {"availability": {"retry_after": value}, "metadata": {"headers": {"Retry-After": value}}}
    for seconds in (retry_after(429, headers, error, message), until_reset(value, headers)):
        assert seconds is None or 0 <= seconds <= LONGEST
