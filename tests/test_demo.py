"""`pointsman demo` shows what it promises, whatever becomes of the proxy."""

import re
from collections import Counter
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import onto_a_full_disk, pointsman, run

# Each demo is run once, for all that is said of it.
pytestmark = pytest.mark.xdist_group("demo")

FATES = ["up", "dies", "502", "hangs"]

FIRST_FAILURE = {"dies": ("connect", None), "502": ("server", 502), "hangs": ("timeout", None)}
"""What a call meets at the proxy once its fate has struck."""

PROXY, DIRECT = "litellm_backend", "openrouter_direct"


@cache
def demo(*options: str) -> dict[str, Any]:
    """What a demo that answered everything says as JSON."""
    ran = pointsman("demo", "--pace", "0", "--json", *options)
    assert (ran.status, ran.err) == (0, "")
    return ran.document


def served(call: dict[str, Any]) -> str:
    return call["decision"]["served"]["backend"]


def path(call: dict[str, Any]) -> str:
    return call["decision"]["assignment"]["path"]


@pytest.mark.parametrize("fate", FATES)
def test_every_call_is_answered_and_the_numbers_add_up(fate: str) -> None:
    shown = demo("--proxy", fate)
    calls = shown["calls"]
    assert (len(calls), shown["answered"]) == (12, 12)
    assert all(call["answered"] and call["text"] and call["error"] is None for call in calls)

    attempts = [attempt for call in calls for attempt in call["decision"]["attempts"]]
    assert shown["attempts"] == len(attempts)
    assert [attempt["target"] for attempt in attempts if attempt["outcome"] == "answered"] == [
        call["decision"]["served"] for call in calls
    ]
    (sink,) = shown["sinks"]
    # Two for each request, two for each attempt, and what the breaker did.
    assert sink["emitted"] == sink["delivered"] == 2 * len(calls) + 2 * len(attempts) + len(shown["circuits"])

    by_path = {report["path"]: report for report in shown["paths"]}
    assert Counter(map(path, calls)) == {name: report["requests"] for name, report in by_path.items()}
    assert sum(report["attempts"] for report in by_path.values()) == len(attempts)
    fell_back = Counter(path(call) for call in calls if len(call["decision"]["attempts"]) > 1)
    assert fell_back == Counter({name: report["fell_back"] for name, report in by_path.items()})
    assert sum(report["tokens"] for report in by_path.values()) == sum(
        attempt["usage"]["input_tokens"] + attempt["usage"]["output_tokens"] for attempt in attempts if attempt["usage"]
    )


@pytest.mark.parametrize("fate", FATES[1:])
def test_once_its_fate_has_struck_the_proxy_serves_nobody_and_the_direct_path_everybody(fate: str) -> None:
    before, after = (calls := demo("--proxy", fate)["calls"])[:6], calls[6:]
    proxied = [call for call in after if path(call) == "proxied"]
    assert [served(call) for call in before if path(call) == "proxied"].count(PROXY) == 3
    assert len(proxied) == 4
    for call in proxied:
        first = call["decision"]["attempts"][0]
        assert first["target"]["backend"] == PROXY
        assert (first["failure"]["kind"], first["failure"]["status"]) == FIRST_FAILURE[fate]
    assert {served(call) for call in after} == {DIRECT}


def test_the_free_tier_runs_out_and_the_last_call_moves_past_its_models() -> None:
    last = demo()["calls"][-1]["decision"]
    assert [attempt["failure"] and attempt["failure"]["kind"] for attempt in last["attempts"]] == ["rate_limit", None]
    assert last["served"]["model"] == "llama-3.1-70b"
    assert [(change["scope"], change["name"], change["after"]) for change in demo()["circuits"]] == [
        ("quota", "openrouter-free", "open")
    ]


@pytest.mark.parametrize(
    ("share", "paths"), [(0, {"direct": 12}), (50, {"direct": 5, "proxied": 7}), (100, {"proxied": 12})]
)
def test_the_share_says_how_many_take_the_proxy(share: int, paths: dict[str, int]) -> None:
    calls = demo("--share", str(share))["calls"]
    assert Counter(map(path, calls)) == paths
    assert all(served(call) == (PROXY if path(call) == "proxied" else DIRECT) for call in calls)


@pytest.mark.parametrize("fate", ["up", "dies", "502"])
def test_a_person_sees_it_within_80_columns(fate: str) -> None:
    ran = pointsman("demo", "--pace", "0", "--proxy", fate)
    assert (ran.status, ran.err) == (0, "")
    assert max(map(len, ran.out.splitlines())) <= 80
    assert "\x1b" not in ran.out
    assert re.findall(r"^ *(\d+)/12 .* [✓↷] \S+ via \S+$", ran.out, re.MULTILINE) == [str(n) for n in range(1, 13)]
    assert "12 of 12 answered." in ran.out
    assert "429 rate_limit" in ran.out


def test_a_terminal_that_knows_only_ascii_is_shown_something() -> None:
    ran = pointsman("demo", "--pace", "0", variables={"PYTHONIOENCODING": "ascii"})
    assert ran.status == 0
    assert ran.out.isascii()
    assert "12 of 12 answered." in ran.out


@pytest.mark.parametrize("options", [["--share", "101"], ["--proxy", "explodes"], ["--pace", "-1"], ["--shere", "1"]])
def test_a_wrong_option_is_wrong_use(options: list[str]) -> None:
    ran = pointsman("demo", *options)
    assert (ran.status, ran.out) == (2, "")
    assert options[0] in ran.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
@pytest.mark.parametrize("words", [["demo", "--pace", "0"], ["demo", "--pace", "0", "--json"], ["--help"]])
def test_what_cannot_be_written_ends_it_with_one_line(words: list[str]) -> None:
    assert onto_a_full_disk(*words) == (1, "pointsman: No space left on device\n")


def test_the_demo_runs_the_configuration_of_the_friday_example() -> None:
    packaged = files("pointsman.cli.demo").joinpath("friday.toml").read_bytes()
    assert packaged == (Path(__file__).parents[1] / "examples" / "friday" / "pointsman.toml").read_bytes()


def test_help_names_every_command_and_the_version_is_the_installed_one() -> None:
    shown = pointsman("--help")
    assert shown.status == 0
    assert "demo" in shown.out
    assert "ask" in shown.out
    assert max(map(len, shown.out.splitlines())) <= 80
    assert pointsman("--version").out.split()[-1] == version("pointsman")


def test_without_its_extra_the_command_says_how_to_get_it(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text("raise ModuleNotFoundError('no click here', name='click')", "utf-8")
    ran = run("-m", "pointsman", "demo", variables={"PYTHONPATH": str(tmp_path)}, cold=True)
    assert ran.status == 1
    assert ran.err == 'pointsman: the command needs its extra; install it with\n  pip install "pointsman[cli]"\n'
