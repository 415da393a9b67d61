"""The README has every command, and its screens are what one sees."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from pointsman.cli.app import app
from tests.cli.test_app import commands

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
CONFIGURATION = re.findall(r"^```toml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)[0]


def test_the_readme_has_every_command() -> None:
    rows = re.findall(r"^\| `pointsman ([a-z ]+)` \| .+ \|$", README, re.MULTILINE)
    assert sorted(rows) == sorted(" ".join(words) for words, _ in commands())


def test_the_readme_shows_what_explain_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pointsman.toml").write_text(CONFIGURATION, "utf-8")
    line, screen = re.findall(r"^```text\n\$ (pointsman .*?)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)[0]
    ran = CliRunner().invoke(app, line.split()[1:])
    assert (ran.exit_code, ran.stdout) == (0, screen)


def test_the_readme_shows_what_is_said_of_a_wrong_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pointsman.toml").write_text('[router]\ndedline = "20s"\n', "utf-8")
    ran = CliRunner().invoke(app, ["check"])
    assert f"```text\n{ran.stderr}```" in README
