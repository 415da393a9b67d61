"""What every command has: help that fits, JSON, completion, a way to switch colours off, and a quick start."""

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pointsman.cli.app import app
from tests.cli.conftest import Desk
from tests.support.command import run

FRIDAY = Path(__file__).parents[2] / "examples" / "friday" / "pointsman.toml"


def commands(group: click.Group = app, above: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that call it, those of groups included."""
    found: list[tuple[tuple[str, ...], click.Command]] = []
    for name, command in group.commands.items():
        words = (*above, name)
        found += commands(command, words) if isinstance(command, click.Group) else [(words, command)]
    return found


EVERY_ONE = pytest.mark.parametrize(
    ("words", "command"), [pytest.param(*one, id=" ".join(one[0])) for one in commands()]
)


@EVERY_ONE
def test_every_command_has_help_within_80_columns(words: tuple[str, ...], command: click.Command) -> None:
    ran = CliRunner().invoke(app, [*words, "--help"], terminal_width=80)
    assert ran.exit_code == 0
    assert max(map(len, ran.output.splitlines())) <= 80
    assert "\x08" not in ran.output
    assert "\\b" not in ran.output


def test_the_list_of_commands_tells_each_whole() -> None:
    said = CliRunner().invoke(app, ["--help"], terminal_width=80).output
    assert [name for name in app.commands if f"  {name} " not in said] == []
    assert "..." not in said.split("Commands:")[1]
    assert "_POINTSMAN_COMPLETE=bash_source" in said


@EVERY_ONE
def test_every_command_can_speak_json(words: tuple[str, ...], command: click.Command) -> None:
    assert "--json" in {name for option in command.params for name in option.opts}, words


@EVERY_ONE
def test_every_command_refuses_what_it_does_not_know_with_status_2(
    words: tuple[str, ...], command: click.Command
) -> None:
    assert CliRunner().invoke(app, [*words, "--no-such-option"]).exit_code == 2


def test_where_there_is_no_configuration_it_is_said_how_to_name_one(desk: Desk) -> None:
    (desk.folder / "pointsman.toml").unlink()
    said = desk.run("explain", status=2).stderr
    assert said.startswith("pointsman.toml: cannot be read: ")
    assert said.endswith("\n--config or POINTSMAN_CONFIG names another file\n")


@pytest.mark.parametrize(
    ("begun", "completed"),
    [("pl", ["plugins"]), ("explain --task c", ["chat"]), ("explain --model ", ["small", "large"])],
)
def test_the_shell_can_complete_commands_and_names(desk: Desk, begun: str, completed: list[str]) -> None:
    words = ["pointsman", *begun.split(" ")]
    asked = {"COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1), "_POINTSMAN_COMPLETE": "bash_complete"}
    ran = run("-m", "pointsman", cwd=desk.folder, variables=asked)
    assert [line.split(",")[1] for line in ran.out.splitlines()] == completed


def test_completion_keeps_silent_about_a_file_that_cannot_be_read(desk: Desk) -> None:
    for text in ("[", "tasks = 3"):
        desk.configure(text)
        asked = {
            "COMP_WORDS": "pointsman explain --task c",
            "COMP_CWORD": "3",
            "_POINTSMAN_COMPLETE": "bash_complete",
        }
        ran = run("-m", "pointsman", cwd=desk.folder, variables=asked)
        assert (ran.out.strip(), ran.err) == ("", "")


@pytest.mark.parametrize(
    ("words", "without"),
    [
        (["--help"], {"asyncio", "cattrs", "pluggy", "rich", "httpx"}),
        (["config", "show", "--help"], {"asyncio", "cattrs", "pluggy", "rich", "httpx"}),
        (["explain", "--config", str(FRIDAY)], {"aiohttp", "rich", "pygments", "pointsman.router"}),
    ],
    ids=["help", "help of a command", "explain"],
)
def test_a_command_imports_no_more_than_it_needs(words: list[str], without: set[str]) -> None:
    program = f"""
import atexit, sys
from pointsman.cli import main
atexit.register(lambda: print(*(name for name, module in sys.modules.items() if module)))
sys.argv[1:] = {words}
main()
"""
    ran = run("-c", program, cold=True)
    assert ran.status == 0, ran.err
    loaded = set(ran.out.splitlines()[-1].split())
    assert "pointsman.cli.app" in loaded
    assert without & loaded == set()
