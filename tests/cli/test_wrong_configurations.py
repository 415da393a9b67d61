"""Each wrong configuration is reported in full: where, the line with the place marked, and what to write instead.

`POINTSMAN_WRITE_REPORTS=1 pytest tests/cli/test_wrong_configurations.py` writes the reports anew, to be read.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pointsman.cli.app import app

WRONG = sorted((Path(__file__).parent / "wrong").glob("*.toml"))

EVERY_ONE = pytest.mark.parametrize("file", WRONG, ids=lambda file: file.stem)


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(WRONG[0].parent)
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-or-v1-canary")


def report_of(file: Path, *words: str) -> str:
    """What `pointsman check` says of a file, ending with 2."""
    ran = CliRunner().invoke(app, ["check", "--config", file.name, *words])
    assert ran.exit_code == 2
    assert "canary" not in ran.output, "a key was shown"
    return ran.output


@EVERY_ONE
def test_each_wrong_configuration_has_its_report(file: Path) -> None:
    expected = file.with_suffix(".txt")
    report = report_of(file)
    if "POINTSMAN_WRITE_REPORTS" in os.environ:
        expected.write_text(report, "utf-8")
    assert report == expected.read_text("utf-8")


@EVERY_ONE
def test_each_report_names_the_file_the_line_and_marks_the_place(file: Path) -> None:
    report = report_of(file)
    if "FAILED" in report:
        assert re.search(rf"\({re.escape(file.name)}:\d+\)", report)
        return
    for place, number, column, line, mark in re.findall(
        rf"^({re.escape(file.name)}:(\d+):(\d+)) .*\n +\|\n\2 \| (.*)\n +\| ( *\^+)$", report, re.MULTILINE
    ):
        assert file.read_text("utf-8").split("\n")[int(number) - 1].startswith(line.removesuffix("...")), place
        assert mark.index("^") == int(column) - 1
    assert len(re.findall(r"^ +\| +\^+$|^ +\| \^+$", report, re.MULTILINE)) == len(problems(file))


def problems(file: Path) -> list[dict[str, Any]]:
    return [one for one in json.loads(report_of(file, "--json"))["findings"] if one["result"] == "failed"]


def test_there_are_twenty_of_them_and_each_is_about_one_thing() -> None:
    assert len(WRONG) >= 20
    # A misspelt plugin is missed where it is named, which may be the mistake.
    several = {file.stem: len(problems(file)) for file in WRONG if len(problems(file)) > 1}
    assert several == {"08_plugin_not_installed": 2, "25_five_faults": 5}


def test_a_file_with_five_faults_reports_five_in_the_order_of_its_lines() -> None:
    found = [one["problem"] for one in problems(WRONG[-1])]
    assert [one["line"] for one in found] == sorted(one["line"] for one in found)
    assert len({one["key"] for one in found}) == 5
    assert report_of(WRONG[-1]).endswith("\n5 problems\n")


@pytest.mark.parametrize("command", ["ask", "explain", "hooks", "config show"])
def test_every_command_gives_the_same_report(command: str) -> None:
    for file in (WRONG[1], WRONG[-1]):
        words = [*command.split(), "--config", file.name, *(["hej"] if command == "ask" else [])]
        ran = CliRunner().invoke(app, words)
        assert (ran.exit_code, ran.stdout, ran.stderr) == (2, "", report_of(file))
