"""The READMEs are true: their configurations load, their programs run, and their screens are what one sees."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import Attribute, Factory, fields

from pointsman import Router
from pointsman.config import ModelSettings, RolloutSettings, RouterSettings, TaskSettings
from pointsman.policy import BUILT_IN
from pointsman.settings import Seconds
from pointsman.testing import (
    ReceivedRequest,
    ScriptedServer,
    openrouter_answer,
    openrouter_error,
    openrouter_stream,
    openrouter_usage,
)
from tests.support.command import pointsman, run

ROOT = Path(__file__).parents[1]
READMES = [ROOT / "README.md", ROOT / "core" / "README.md"]
"""Those of the plugins are in `tests/plugins/test_readmes.py`."""
_Factory = type(Factory(dict))

FRIDAY = ROOT / "examples" / "friday" / "pointsman.toml"

PIECES = ["Kære ", "Mette Hansen. ", "Tak for din henvendelse ..."]
KEYS = {"LITELLM_MASTER_KEY": "sk-1111", "OPENROUTER_API_KEY": "sk-2222"}


def blocks(readme: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", readme.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def every(language: str) -> pytest.MarkDecorator:
    """A test with arguments `readme` and `block`, once for each block in this language."""
    found = [(readme, block) for readme in READMES for block in blocks(readme, language)]
    assert found
    ids = [f"{readme.parent.name}-{number}" for number, (readme, _) in enumerate(found)]
    return pytest.mark.parametrize(("readme", "block"), found, ids=ids)


@pytest.fixture
def openrouter() -> Iterator[ScriptedServer]:
    def play(request: ReceivedRequest):
        usage = openrouter_usage("") | {"prompt_tokens": 31, "completion_tokens": 80, "total_tokens": 111}
        if request.streamed:
            return openrouter_stream(str(request.model), PIECES, usage=usage, provider="Z.AI", delay=0.03)
        return openrouter_answer(str(request.model), "".join(PIECES), usage=usage, provider="Z.AI")

    with ScriptedServer(play) as server:
        yield server


def configure(folder: Path, text: str, openrouter: ScriptedServer) -> None:
    """Writes a configuration of a README's whose proxy is down, and whose OpenRouter is this one."""
    assert "http://localhost:4000" in text
    text = text.replace("http://localhost:4000", "http://127.0.0.1:9")
    table = "[plugins.openrouter_direct]\n"
    assert table in text
    text = text.replace(table, f'{table}base_url = "{openrouter.url}/api/v1"\n')
    (folder / "pointsman.toml").write_text(text, "utf-8")


@every("toml")
def test_each_configuration_loads(readme: Path, block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "pointsman.toml"
    file.write_text(block, "utf-8")
    with Router.from_toml(file) as router:
        assert tomllib.loads(block)["plugins"].keys() <= {plugin.name for plugin in router.snapshot.plugins}


@every("python")
def test_each_program_runs(readme: Path, block: str, tmp_path: Path, openrouter: ScriptedServer) -> None:
    # The core's README leaves the configuration to others.
    configuration = [*blocks(readme, "toml"), FRIDAY.read_text("utf-8")][0]
    configure(tmp_path, configuration, openrouter)
    ran = run("-c", block, cwd=tmp_path, variables=KEYS)
    assert (ran.status, ran.err) == (0, "")
    assert "".join(PIECES) in ran.out
    assert openrouter.requests


def test_when_nothing_answers_the_readmes_last_resort_does_and_health_says_what_is_shut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (text,) = (block for block in blocks(ROOT / "README.md", "toml") if "last_resort" in block)
    with ScriptedServer(openrouter_error(401, "No auth credentials found")) as refusing:
        place = f'[plugins.openrouter_direct]\nbase_url = "{refusing.url}/api/v1"\n'
        (tmp_path / "pointsman.toml").write_text(text.replace("[plugins.openrouter_direct]\n", place), "utf-8")
        monkeypatch.setenv("OPENROUTER_API_KEY", "sk-nobody")
        with Router.from_toml(tmp_path / "pointsman.toml") as router:
            for _ in range(2):
                reply = router.complete("Svar Mette Hansen ...", task="email-draft")
                assert reply.text == "Vi vender tilbage hurtigst muligt."
                assert reply.decision is not None
                assert reply.decision.outcome == "last_resort"
                assert reply.decision.why
            (shut,) = (one for one in router.health() if one.state == "open")
        assert (shut.scope, shut.name) == ("backend", "openrouter_direct")
        assert shut.why
        assert shut.retry_after
        assert len(refusing.requests) == 1, "the second request found the breaker shut"


def test_what_the_command_shows_is_what_the_readme_shows(tmp_path: Path, openrouter: ScriptedServer) -> None:
    readme = ROOT / "README.md"
    configure(tmp_path, blocks(readme, "toml")[0].replace("[plugins.metrics_stdout]\n", ""), openrouter)
    (command,) = (block for block in blocks(readme, "console") if block.startswith("pointsman ask"))
    (screen,) = (block for block in blocks(readme, "text") if block.startswith("email-draft"))
    ran = pointsman(*shlex.split(command)[1:], cwd=tmp_path, variables=KEYS)
    assert ran.status == 0
    assert ran.out in screen
    story, pace = ran.err.replace("\n\n\n", f"\n\n{ran.out}\n"), r"\d+\.\d\d s|\d+ tokens/s"
    assert re.sub(pace, "#", story) == re.sub(pace, "#", screen)


def test_the_demo_shows_the_lines_that_the_readme_shows() -> None:
    (screen,) = (block for block in blocks(ROOT / "README.md", "text") if "1/12" in block)
    shown = pointsman("demo", "--pace", "0").out.splitlines()
    lines = [line for line in screen.splitlines() if line.strip() != "..."]
    assert len(lines) == 4
    assert [line for line in lines if line not in shown] == []


def test_every_option_that_the_readme_names_exists() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    commands = ("demo", "ask", "check", "explain", "config show")
    offered = "".join(pointsman(*command.split(), "--help").out for command in commands) + pointsman("--help").out
    named = set(re.findall(r"--[a-z][a-z-]+", text))
    assert {"--proxy", "--share", "--json", "--no-stream", "--task"} <= named
    assert [option for option in named if option not in offered] == []


@pytest.mark.parametrize("readme", READMES, ids=lambda readme: readme.parent.name)
def test_every_link_into_the_repository_leads_somewhere(readme: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", readme.read_text("utf-8"))
    assert [link for link in links if "://" not in link and not (readme.parent / link).exists()] == []


@pytest.mark.parametrize(
    ("table", "settings"),
    [
        ("router", RouterSettings),
        ("models.<name>", ModelSettings),
        ("tasks.<name>", TaskSettings),
        ("rollout", RolloutSettings),
    ],
    ids=["router", "models", "tasks", "rollout"],
)
def test_the_core_readme_has_every_setting_with_its_default(table: str, settings: type) -> None:
    rows = re.findall(rf"^\| `{re.escape(table)}\.(\w+)` \| (.+?) \|", READMES[1].read_text("utf-8"), re.MULTILINE)
    assert dict(rows) == {one.name: shown(one) for one in fields(settings)}


def shown(setting: "Attribute[object]") -> str:
    """A default as the table has it."""
    default = setting.default
    if setting.type is Seconds:
        return f'`"{default:g}s"`'
    if isinstance(default, float):
        return f"`{default:g}`"
    if isinstance(default, str):
        return f'`"{default}"`'
    if isinstance(default, bool | int):
        return f"`{default}".lower() + "`"
    return "none" if default is None or default == {} or isinstance(default, _Factory) else "required"


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_core_readme_has_every_setting_of_the_built_in_plugins(name: str) -> None:
    rows = re.findall(rf"^\| `plugins\.{name}\.(\w+)` \| (.*?) \|", READMES[1].read_text("utf-8"), re.MULTILINE)
    settings = [one for one in fields(BUILT_IN[name]) if one.init]
    assert dict(rows) == {one.name: shown(one) for one in settings}
