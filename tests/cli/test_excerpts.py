"""The line that a problem is about is shown with its place marked, and never with what may be a key."""

from pathlib import Path

import pytest

from pointsman.cli.columns import length
from pointsman.cli.excerpt import excerpt
from pointsman.errors import Problem


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "pointsman.toml"


def shown(file: Path, text: str, line: int, column: int) -> list[str]:
    file.write_text(text, "utf-8")
    problem = Problem(key="k", message="m", file=str(file), line=line, column=column)
    return excerpt(problem).split("\n")


def test_a_key_is_marked_as_wide_as_it_is(file: Path) -> None:
    assert shown(file, "[models.a]\nquota = 3\n", 2, 1) == ["  |", "2 | quota = 3", "  | ^^^^^"]


def test_a_text_is_marked_with_its_quotes(file: Path) -> None:
    assert shown(file, '[paths]\na = ["b", "c"]\n', 2, 11)[2] == "  |           ^^^"


def test_the_mark_stands_below_its_place_whatever_stands_before_it(file: Path) -> None:
    assert shown(file, '[paths]\n\ta = [ "b" ]\n', 2, 8)[1:] == ['2 |     a = [ "b" ]', "  |           ^^^"]
    assert shown(file, '[paths]\na = ["模型", "c"]\n', 2, 12)[1:] == ['2 | a = ["模型", "c"]', "  |              ^^^"]


def test_a_place_behind_the_line_is_marked_there(file: Path) -> None:
    assert shown(file, '[paths]\na = ["b\n', 2, 8)[2] == "  |        ^"


def test_what_a_terminal_would_obey_is_shown_as_text(file: Path) -> None:
    assert shown(file, '[paths]\na = "\x1b[31m" # b\n', 2, 1)[1] == '2 | a = "\\x1b[31m" # b'


def test_a_problem_without_a_place_has_no_excerpt(file: Path) -> None:
    assert excerpt(Problem(key="k", message="m")) == ""
    assert excerpt(Problem(key="k", message="m", file=str(file), line=1, column=1)) == ""  # the file is gone
    file.write_text("", "utf-8")
    assert excerpt(Problem(key="k", message="m", file=str(file), line=9, column=1)) == ""


@pytest.mark.parametrize(
    "text",
    [
        '[plugins.a]\nkey = "sk-canary"\n',
        "[plugins.a]\nkey = sk-canary\n",
        '[plugins.a]\nkey = { env = "sk-canary" }\n',
        '[plugins.a]\n"key" = "sk-canary" # sk-canary\n',
        '[plugins.a]\nkeys = [\n  "sk-canary",\n  ["sk-canary"]\n]\n',
        '[plugins]\na = { key = "sk-canary" }\n',
        'plugins = { a = { key = "sk-canary" } }\n',
        'plugins.a.key = "sk-canary"\n',
        '[plugin.a]\nkey = "sk-canary"\n',
        '["plugins"."a"]\nkey = "sk-canary"\n',
        "[[plugins]]\nkey = '''\nsk-canary'''\n",
        "sk-canary\n",
    ],
)
def test_what_may_be_a_key_is_not_shown_wherever_the_mark_is(file: Path, text: str) -> None:
    for number, line in enumerate(text.split("\n"), start=1):
        for column in range(1, len(line) + 2):
            said = shown(file, text, number, column)
            assert "canary" not in "\n".join(said)
            assert said[1].startswith(f"{number} | ")
            assert "^" in said[2]


def test_the_name_before_a_hidden_value_is_still_marked(file: Path) -> None:
    text = '[plugins.a]\napikey = "sk-canary"\n'
    assert shown(file, text, 2, 1)[1:] == ["2 | apikey = ...", "  | ^^^^^^"]
    assert shown(file, text, 2, 12)[1:] == ["2 | apikey = ...", "  |          ^^^"]


LONG = 'models = ["翻訳モデル", "a", "rødgrød 🍓 med fløde", "and a great deal more than forty columns take"]'


@pytest.mark.parametrize("word", ["models", '"翻訳モデル"', '"a"', '"rødgrød', '"and'])
@pytest.mark.parametrize("room", [40, 60, 80])
def test_a_line_that_is_too_long_is_cut_with_a_sign_and_its_place_is_seen(file: Path, word: str, room: int) -> None:
    file.write_text(f"[tasks.a]\n{LONG}\n", "utf-8")
    column = LONG.index(word) + 1
    lines = excerpt(Problem(key="k", message="m", file=str(file), line=2, column=column), room).split("\n")
    assert max(map(length, lines)) <= room
    assert "..." in lines[1]
    marked = len(lines[2].partition("^")[0])
    assert _from(lines[1], marked).startswith(word[:3])


def _from(line: str, column: int) -> str:
    """The part of a line that begins at a column of the terminal."""
    while column > 0:
        column -= length(line[0])
        line = line[1:]
    return line
