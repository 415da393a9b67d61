"""`pointsman rollout` as a process of its own, on a terminal: asked before it writes, and no wider than it is."""

import sys
from pathlib import Path

import pytest
from click import unstyle

if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals", allow_module_level=True)

from tests.support.terminal import columns_of, on_a_terminal

FRIDAY = (Path(__file__).parents[2] / "examples" / "friday" / "pointsman.toml").read_text("utf-8")
SET = FRIDAY.replace("proxied = 50", "proxied = 60")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pointsman.toml").write_text(FRIDAY, "utf-8")
    return tmp_path


@pytest.mark.parametrize(("answer", "after"), [("y", SET), ("n", FRIDAY)])
def test_a_person_is_asked_and_the_answer_holds(answer: str, after: str, folder: Path) -> None:
    assert SET != FRIDAY
    said = on_a_terminal("rollout", "set", "proxied=60", columns=80, cwd=folder, typed=f"{answer}\n")
    assert "Write it? [y/N]" in said
    assert ("nothing is written" in said) is (answer == "n")
    assert (folder / "pointsman.toml").read_text("utf-8") == after


@pytest.mark.parametrize("no_color", ["", "1"])
def test_a_difference_is_in_colour_where_colours_are_wanted(no_color: str, folder: Path) -> None:
    said = on_a_terminal("rollout", "set", "proxied=60", "--dry-run", columns=80, cwd=folder, NO_COLOR=no_color)
    assert "+shares = { proxied = 60 }" in unstyle(said)
    assert ("\x1b[32m+shares" in said) is (not no_color)


@pytest.mark.parametrize(
    "view",
    [
        "rollout show --unit 42",
        "rollout preview proxied=60 --units units.txt",
        "rollout preview proxied=400",
        "rollout status",
        "rollout status --help",
        "rollout off",
        "rollout resume",
    ],
)
def test_no_line_of_a_rollout_is_wider_than_the_terminal(view: str, folder: Path) -> None:
    (folder / "units.txt").write_text("\n".join(map(str, range(100))), "utf-8")
    said = on_a_terminal(*view.split(), columns=80, cwd=folder)
    assert said
    assert [line for line in said.splitlines() if columns_of(line) > 80] == []
