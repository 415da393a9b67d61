"""The comparison of benchmarks/comparison in small: everybody who needs no installation answers, and is measured."""

import json
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "comparison"
BOTH_FACES = ["pointsman", "pointsman-sync"]
THROUGH_HTTPX = "pointsman-httpx"
BARE = ["aiohttp", "seam", "httpx", "httpx-sync"]
PARSING = ["parsing", "parsing-msgspec"]
sys.path.append(str(BENCHMARK))
sys.path.append(str(BENCHMARK / "processes"))
figures = import_module("figures")

SMALL = ["--rounds", "1", "--seconds", "0.01", "--many", "20"]


def compared(folder: Path, *only: str) -> dict[str, dict[str, list[dict[str, float]]]]:
    command = [sys.executable, str(BENCHMARK), "--offline", *SMALL, "--results", str(folder), "--only", *only]
    run = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    # 1: a figure does not hold, for which this is far too short.
    assert run.returncode in {0, 1}, run.stderr
    told = json.loads((folder / "comparison.json").read_text())
    assert told["failed"] == {}
    return told["samples"]


def test_the_comparison_measures_both_faces_and_the_bare_clients_with_the_same_answers(tmp_path):
    everybody = {*BOTH_FACES, THROUGH_HTTPX, *BARE}
    samples = compared(tmp_path, *everybody, *PARSING, "whole-1", "stream", "fallback")

    assert set(samples["stream"]) == {*everybody, *PARSING}
    for scenario in ("whole-1", "stream", "fallback"):
        assert set(samples[scenario]) - {*PARSING} == everybody
        for rounds in samples[scenario].values():
            assert rounds[0]["requests"] >= 1, rounds
            assert rounds[0]["cpu"] > 0, rounds
    assert "synchronous face" in (tmp_path / "comparison.md").read_text()
    assert (tmp_path / "comparison.svg").read_text().startswith("<svg")


def test_the_comparison_measures_what_requests_in_flight_hold(tmp_path):
    samples = compared(tmp_path, "pointsman", "aiohttp", "seam", "held")

    assert {one["requests"] for rounds in samples["held"].values() for one in rounds} == {20}
    assert {len(rounds) for rounds in samples["held"].values()} == {3}


def test_what_cannot_be_measured_fails_the_comparison(tmp_path):
    broken = tmp_path / "benchmarks" / "comparison"
    shutil.copy(BENCHMARK.parents[1] / "dev.py", tmp_path)
    shutil.copytree(BENCHMARK, broken, ignore=shutil.ignore_patterns("__pycache__"))
    (broken / "processes" / "bare_aiohttp.py").write_text("raise RuntimeError")
    command = [
        sys.executable,
        str(broken),
        "--offline",
        *SMALL,
        "--results",
        str(tmp_path),
        "--only",
        "aiohttp",
        "held",
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert run.returncode == 1
    assert json.loads((tmp_path / "comparison.json").read_text())["failed"] == {"aiohttp": "whole: its process ended"}


# Figures, out of samples that are made up


def of(wall: float, cpu: float, requests: int = 100) -> dict[str, float]:
    return {"requests": requests, "wall": wall, "cpu": cpu}


def figure(samples: dict[str, Any], title: str) -> Any:
    (found,) = [one for one in figures.figures(samples) if title in one.title]
    return found


@pytest.mark.parametrize(
    ("scenario", "other", "title", "least"),
    [
        ("whole-64", "seam", "bare httpx transport seam", 0.8),
        ("whole-64", "litellm", "requests/s against LiteLLM's Router", 20),
        ("whole-64", "httpx", "httpx.AsyncClient", 8),
        ("whole-1", "httpx-sync", "synchronous face", 0.9),
    ],
)
def test_a_speed_holds_from_its_ratio_on_by_clock_and_by_cpu(scenario, other, title, least):
    ours = "pointsman-sync" if scenario == "whole-1" else "pointsman"
    for wall, cpu, holds in ((1.01, 1.01, True), (0.99, 1.01, False), (1.01, 0.99, False)):
        theirs = of(1.0 * least, 1.0 * least)
        samples = {scenario: {ours: [of(1.0 / wall, 1.0 / cpu)], other: [theirs]}}
        assert figure(samples, title).holds is holds


def test_ratios_are_taken_round_by_round():
    rounds = [1.0, 10.0, 100.0]  # the machine gets slower, for both
    samples = {
        "whole-64": {
            "pointsman": [of(one, one) for one in rounds],
            "seam": [of(one * 0.9, one * 0.9) for one in rounds],
        }
    }
    assert figure(samples, "bare httpx transport seam").measured == "0.90"


@pytest.mark.parametrize(
    ("other", "title", "most"),
    [
        ("litellm", "streamed chunk, CPU, against LiteLLM's Router", 1 / 25),
        ("parsing", "from memory and nothing else", 2),
        ("aiohttp", "reading the same bytes with aiohttp", 2),
    ],
)
def test_a_chunk_costs_at_most_so_much(other, title, most):
    for cpu, holds in ((0.99, True), (1.01, False)):
        samples = {"stream": {"pointsman": [of(1, cpu * most)], other: [of(1, 1.0)]}}
        assert figure(samples, title).holds is holds


def test_a_fallback_costs_at_most_a_fifth_of_a_millisecond_more():
    for more, holds in ((0.00019, True), (0.00021, False)):
        samples = {"fallback": {"pointsman": [of(1 + more, 1 + more, 1)], "seam": [of(1, 1, 1)]}}
        assert figure(samples, "two HTTP calls by the bare seam").holds is holds


def test_the_core_is_counted_in_pluggy_calls_and_flat():
    def told(calls: float, fifty: float) -> dict[str, Any]:
        rounds = {"as in router_overhead": calls, "one of each": 10.0, "50 tasks": fifty, "50 models": 10.0}
        # Each round is twice as slow as the one before, in everything.
        requests = {name: [one * slow for slow in (1, 2, 4)] for name, one in rounds.items()}
        return {"core": {"pointsman": [{"pluggy": [1.0, 2.0, 4.0], "requests": requests}]}}

    assert [figure(told(calls, 10.0), "core alone, a backend").holds for calls in (20.0, 20.1)] == [True, False]
    assert [figure(told(20.0, fifty), "50 tasks").holds for fifty in (10.9, 11.1)] == [True, False]


def test_an_import_takes_at_most_ten_milliseconds():
    for seconds, holds in ((0.0099, True), (0.0101, False)):
        samples = {"import": {"import pointsman": [{"wall": seconds, "cpu": seconds}]}}
        assert figure(samples, "`import pointsman`").holds is holds


def test_memory_is_what_a_process_grew_by():
    def grown(by: float) -> dict[str, float]:
        return {"requests": 7, "before": 50.0, "peak": 50.0 + by, "after": 50.0}

    for by, holds in ((149.0, True), (151.0, False)):
        samples = {"held": {"pointsman": [grown(by)], "aiohttp": [grown(100.0)]}}
        assert figure(samples, "7 requests in flight, growth against aiohttp's").holds is holds


def test_a_round_that_failed_is_left_out_for_both_and_the_others_stay_side_by_side():
    error = {"error": "its process ended"}
    samples = {"whole-64": {"pointsman": [error, of(1, 1), of(10, 10)], "seam": [of(1, 1), of(1, 1), of(10, 10)]}}
    assert figure(samples, "bare httpx transport seam").measured == "1.00"
    begun = {"start": {"pointsman": [error, of(1, 1), of(1, 1)], "aiohttp": [error]}}
    assert figures.columns(begun, "start", "pointsman") == ["1000", "1000"]
    assert figures.columns(begun, "start", "aiohttp") == ["its process ended"]


def test_what_was_not_measured_does_not_hold():
    assert {one.holds for one in figures.figures({})} == {None}
