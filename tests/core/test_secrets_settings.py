"""Secrets are taken from where they are kept and shown nowhere; durations mean what they say."""

import copy
import json
import pickle
import tomllib
import traceback
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman import ConfigError, Router, Seconds, Secret
from pointsman.convert import structure
from pointsman.kinds import converter
from pointsman.outside import SettingError
from tests.support.acme import Echo
from tests.support.reports import Reporter
from tests.support.site import Site

CANARY = "sk-or-v1-c4n4ry"
VARIABLE = "ACME_KEY"


@pytest.fixture
def in_environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A table that takes the secret from the environment."""
    monkeypatch.setenv(VARIABLE, CANARY)
    return {"env": VARIABLE}


@pytest.fixture
def in_file(tmp_path: Path) -> dict[str, str]:
    """A table that takes the secret from a file."""
    (tmp_path / "key").write_text(f"  {CANARY}\n", "utf-8")
    return {"file": str(tmp_path / "key")}


def secret_of(api_key: object) -> Secret:
    echo, problems = structure({"api_key": api_key}, Echo)
    assert problems == []
    assert echo is not None
    assert echo.api_key is not None
    return echo.api_key


# Where they come from


def test_a_secret_comes_from_the_environment(in_environment: dict[str, str]) -> None:
    secret = secret_of(in_environment)
    assert (secret.reveal(), secret.origin) == (CANARY, f"environment variable {VARIABLE}")


def test_a_secret_comes_from_a_file_without_the_blanks_around_it(in_file: dict[str, str]) -> None:
    secret = secret_of(in_file)
    assert (secret.reveal(), secret.origin) == (CANARY, f"file {in_file['file']}")


def test_a_secret_comes_from_python() -> None:
    secret = secret_of(Secret(CANARY))
    assert (secret.reveal(), secret.origin) == (CANARY, "given in code")


def test_a_missing_environment_variable_is_named(report: Reporter) -> None:
    assert report("""
        [plugins.echo]
        api_key = { env = "ACME_KEY_THAT_IS_NOT_SET" }
    """) == (
        "2:1 plugins.echo.api_key: environment variable ACME_KEY_THAT_IS_NOT_SET is not set, or empty; "
        "set it before the program starts"
    )


def test_an_empty_environment_variable_is_a_missing_one(report: Reporter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")
    assert "ACME_KEY is not set, or empty" in report(f"[plugins.echo]\napi_key = {{ env = '{VARIABLE}' }}")


def test_a_missing_secret_file_is_reported(report: Reporter, tmp_path: Path) -> None:
    missing = "2:1 plugins.echo.api_key: the file named here cannot be read: No such file or directory"
    assert report(f"[plugins.echo]\napi_key = {{ file = '{tmp_path / 'no'}' }}") == missing
    assert report("[plugins.echo]\napi_key = { file = 'no' }") == (f"{missing}; a relative path begins at {Path.cwd()}")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b" \n", "the file named here is empty; write the key into it"),
        (b"\xff\xfe", "the file named here cannot be read: it is not UTF-8 text"),
    ],
)
def test_a_secret_file_without_a_secret_is_reported(
    report: Reporter, tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "key").write_bytes(content)
    text = f"[plugins.echo]\napi_key = {{ file = '{tmp_path / 'key'}' }}"
    assert report(text) == f"2:1 plugins.echo.api_key: {message}"


def test_a_key_written_into_the_file_is_told_where_keys_belong(report: Reporter) -> None:
    assert report(f'[plugins.echo]\napi_key = "{CANARY}"') == (
        '2:1 plugins.echo.api_key: expected { env = "NAME" } or { file = "PATH" }, or from Python a Secret; '
        "a key is never written into a configuration"
    )


# Where they are not shown


@pytest.mark.parametrize(
    "setting",
    [
        f'api_key = "{CANARY}"',
        f'api_key = {{ env = "{CANARY}" }}',
        f'api_key = {{ file = "{CANARY}" }}',
        f'api_key = {{ value = "{CANARY}" }}',
        f'api_key = {{ env = "HOME", value = "{CANARY}" }}',
        f'api_key = ["{CANARY}"]',
        f"api_key = {CANARY}",
        f'retries = "{CANARY}"',
        f'timeout = "{CANARY}"',
        f'tags = "{CANARY}"',
        f'region = "{CANARY}"',
        f'limit = ["{CANARY}"]',
        f'headers = "{CANARY}"',
        f'enabled = "{CANARY}"',
    ],
)
def test_a_key_in_the_wrong_place_is_repeated_in_no_message(site: Site, tmp_path: Path, setting: str) -> None:
    file = tmp_path / "pointsman.toml"
    file.write_text(f"[plugins.echo]\n{setting}", "utf-8")
    with pytest.raises(ConfigError) as caught:
        Router.from_toml(file)
    assert len(caught.value.problems) == 1
    assert CANARY not in "".join(traceback.format_exception(caught.value))
    assert CANARY not in pickle.dumps(caught.value).decode("latin-1")


@pytest.mark.parametrize("show", [repr, str, "{}".format, "{!r:>80}".format, "%s".__mod__, lambda one: f"{one!s:.9}"])
def test_no_way_of_showing_a_secret_shows_its_value(show: Any) -> None:
    assert CANARY not in show(Secret(CANARY))
    assert "c4n4ry" not in show(attrs.evolve(Echo(), api_key=Secret(CANARY)))
    assert "c4n4ry" not in show({"key": [Secret(CANARY)]})


def test_a_secret_with_a_format_of_its_own_is_refused_or_hidden() -> None:
    for spec in ("s", ">40", "r"):
        with pytest.raises(TypeError) as caught:
            format(Secret(CANARY), spec)
        assert CANARY not in str(caught.value)


def test_a_secret_says_where_it_came_from(in_environment: dict[str, str]) -> None:
    assert repr(secret_of(in_environment)) == f"Secret(<environment variable {VARIABLE}>)"
    assert f"api_key=Secret(<environment variable {VARIABLE}>)" in repr(Echo(api_key=secret_of(in_environment)))


def test_a_secret_is_not_pickled() -> None:
    for holder in (Secret(CANARY), [Secret(CANARY)], Echo(api_key=Secret(CANARY))):
        with pytest.raises(TypeError, match="a Secret is never pickled: build the router again") as caught:
            pickle.dumps(holder)
        assert CANARY not in str(caught.value)


def test_a_secret_is_no_json() -> None:
    with pytest.raises(TypeError):
        json.dumps(Secret(CANARY))
    assert CANARY not in json.dumps(attrs.asdict(Echo(api_key=Secret(CANARY))), default=str)


def test_copies_of_a_secret_are_the_secret() -> None:
    secret = Secret(CANARY)
    assert copy.copy(secret) is secret
    assert copy.deepcopy([secret])[0] is secret


def test_secrets_are_equal_when_their_values_are() -> None:
    assert Secret("a") == Secret("a", "file b")
    assert hash(Secret("a")) == hash(Secret("a", "file b"))
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


def test_a_failed_build_shows_no_secret_not_even_with_local_variables(
    site: Site, in_environment: dict[str, str], in_file: dict[str, str]
) -> None:
    table = {
        "plugins": {
            "echo": {"api_key": in_environment, "retries": "x"},
            "second": {"use": "echo", "api_key": in_file},
            "third": Echo(api_key=Secret(CANARY)),
        },
        "router": {"default_task": "nobody's"},
    }
    try:
        Router(table)
    except ConfigError as error:
        told = traceback.TracebackException.from_exception(error, capture_locals=True)
        shown = "".join(told.format(chain=True))
    else:
        shown = ""
    assert "no task" in shown
    assert "Secret(<" in shown, "local variables are shown, so that this test can fail"
    assert CANARY not in shown


def test_a_snapshot_shows_no_secret(site: Site, in_environment: dict[str, str]) -> None:
    snapshot = Router({"plugins": {"echo": {"api_key": in_environment}}}).snapshot
    shown = [repr(snapshot), *(repr(one.instance) for one in snapshot.plugins)]
    assert "Secret(<" in "".join(shown), "the setting is shown, so that this test can fail"
    assert CANARY not in "".join(shown)


# Durations


def seconds_of(value: object) -> float:
    return converter().structure(value, Seconds)  # pyright: ignore[reportArgumentType] - cattrs takes new types too


UNITS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


@given(st.integers(0, 10**9), st.sampled_from(sorted(UNITS)), st.sampled_from(["", " "]))
def test_a_duration_with_a_unit_is_that_many_seconds(number: int, unit: str, space: str) -> None:
    assert seconds_of(f"{number}{space}{unit}") == pytest.approx(number * UNITS[unit] / 1000, rel=1e-12)


@given(st.decimals(0, 10**6, places=3), st.sampled_from(sorted(UNITS)))
def test_a_duration_may_have_decimals(number: Any, unit: str) -> None:
    assert seconds_of(f"{number}{unit}") == pytest.approx(float(number) * UNITS[unit] / 1000, rel=1e-12)


@given(st.floats(0, allow_infinity=False) | st.integers(0, 10**300))
def test_a_bare_number_is_seconds(number: float) -> None:
    seconds = seconds_of(number)
    assert isinstance(seconds, float)
    assert seconds == float(number)


@given(
    st.floats(max_value=0, exclude_max=True)
    | st.just(float("nan"))
    | st.just(float("inf"))
    | st.integers(max_value=-1)
    | st.integers(10**400, 10**401)
    | st.text().filter(lambda text: not any(text.strip().endswith(unit) for unit in UNITS))
    | st.booleans()
    | st.none()
    | st.lists(st.integers())
)
def test_anything_else_is_no_duration(value: object) -> None:
    with pytest.raises(SettingError, match=r'0 or more seconds, or text such as "500ms", "60s", "2m"'):
        seconds_of(value)


@pytest.mark.parametrize(
    "text", ["", "s", "5", "-5s", "+5s", "5 sec", "5S", "1e3s", ".5s", "5.s", "5s5s", "5\ns", "1w"]
)
def test_durations_are_written_in_one_way(text: str) -> None:
    with pytest.raises(SettingError):
        seconds_of(text)


def test_durations_in_a_file_are_seconds_in_the_configuration() -> None:
    table = tomllib.loads("[router]\ndeadline = '2m'\nattempt_timeout = 12.5\nreserve = '500ms'")
    router = Router(table).snapshot.config.router
    assert (router.deadline, router.attempt_timeout, router.reserve) == (120.0, 12.5, 0.5)
