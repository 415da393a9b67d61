"""On a terminal: nothing is wider than it is, columns stand below each other, and colours can be switched off."""

import os
import sys
import tomllib
from pathlib import Path

import pytest
from click import unstyle

from tests.cli.conftest import Desk

if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals", allow_module_level=True)

from tests.support.terminal import columns_of, on_a_terminal

FRIDAY = Path(__file__).parents[2] / "examples" / "friday" / "pointsman.toml"

VIEWS = (
    "check",
    "plugins",
    "plugins openrouter_direct breaker",
    "hooks",
    "explain --task email-draft --unit 10",
    "config show",
    "config show --origin",
    "demo --pace 0",
    "ask --task nobody hej",
)


@pytest.mark.parametrize("columns", [80, 140])
@pytest.mark.parametrize("view", VIEWS)
def test_no_line_of_a_view_is_wider_than_the_terminal(view: str, columns: int, tmp_path: Path) -> None:
    (tmp_path / "pointsman.toml").write_text(FRIDAY.read_text("utf-8"), "utf-8")
    said = on_a_terminal(*view.split(), columns=columns, cwd=tmp_path)
    assert len(said) > len(view)
    assert [line for line in said.splitlines() if columns_of(line) > columns] == []


@pytest.mark.parametrize("columns", [80, 140])
def test_what_explain_leaves_out_for_want_of_room_it_says(columns: int, tmp_path: Path) -> None:
    (tmp_path / "pointsman.toml").write_text(FRIDAY.read_text("utf-8"), "utf-8")
    said = on_a_terminal("explain", "--unit", "10", columns=columns, cwd=tmp_path)
    assert ("z-ai/glm-4.5-air:free" in said) is (columns == 140)
    assert ("A wider terminal shows" in said) is (columns == 80)


def test_the_configuration_that_is_shown_is_the_same_at_every_width(tmp_path: Path) -> None:
    (tmp_path / "pointsman.toml").write_text(FRIDAY.read_text("utf-8"), "utf-8")
    for words in (["config", "show"], ["config", "show", "--origin"]):
        shown = [unstyle(on_a_terminal(*words, columns=columns, cwd=tmp_path)) for columns in (50, 110)]
        narrow, broad = map(tomllib.loads, shown)
        assert narrow == broad
        assert len(shown[0].splitlines()) > len(shown[1].splitlines())


@pytest.mark.parametrize("no_color", ["", "1"])
def test_colours_can_be_switched_off(desk: Desk, no_color: str) -> None:
    said = on_a_terminal("hooks", columns=80, cwd=desk.folder, PYTHONPATH=path(desk), NO_COLOR=no_color)
    assert "select_model" in said
    assert ("\x1b[" in said) is (not no_color)


def path(desk: Desk) -> str:
    return f"{desk.site.folder}{os.pathsep}{Path(__file__).parents[2]}"


WIDE = """
[models."翻訳モデル"]
on = { echo = "wire/翻訳", second = "wire/翻" }

[models."rødgrød 🍓"]
on = { echo = "wire/rødgrød", second = "wire/fløde" }

[tasks.wide]
models = ["翻訳モデル", "rødgrød 🍓"]
why = "翻訳は翻訳 🍓"
"""


@pytest.mark.parametrize(
    ("words", "mark", "wide"),
    [
        (["explain", "--task", "wide", "--unit", "1"], "wire/", "翻訳モデル via"),
        (["config", "show", "--origin"], "# pointsman.toml:", 'why = "翻訳は翻訳 🍓"'),
    ],
    ids=["explain", "config show"],
)
def test_wide_characters_push_no_column_out(words: list[str], mark: str, wide: str, desk: Desk) -> None:
    desk.configure((desk.folder / "pointsman.toml").read_text("utf-8") + WIDE)
    said = unstyle(on_a_terminal(*words, columns=80, cwd=desk.folder, PYTHONPATH=path(desk)))
    block = next(block for block in said.split("\n\n") if wide in block)
    places = [columns_of(line.partition(mark)[0]) for line in block.splitlines() if mark in line]
    assert len(places) > 1
    assert len(set(places)) == 1, block
