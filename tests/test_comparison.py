"""The comparison of benchmarks/comparison in small: everybody who needs no installation answers, and is measured."""

import json
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "comparison"
BOTH_FACES = ["pointsman", "pointsman-sync"]
BARE = ["aiohttp", "seam", "httpx", "httpx-sync"]
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
    samples = compared(tmp_path, *BOTH_FACES, *BARE, "whole-1", "stream", "fallback")

    for scenario in ("whole-1", "stream", "fallback"):
        assert set(samples[scenario]) == {*BOTH_FACES, *BARE}
        for rounds in samples[scenario].values():
            assert rounds[0]["requests"] >= 1, rounds
            assert rounds[0]["cpu"] > 0, rounds
    assert "synchronous face" in (tmp_path / "comparison.md").read_text()
    assert (tmp_path / "comparison.svg").read_text().startswith("<svg")


def test_the_comparison_measures_what_requests_in_flight_hold(tmp_path):
    samples = compared(tmp_path, "pointsman", "aiohttp", "seam", "held")

    assert {rounds[0]["requests"] for rounds in samples["held"].values()} == {20}
