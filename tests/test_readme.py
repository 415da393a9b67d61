"""The READMEs are true: their configurations load, their programs run, and their screens are what one sees."""

import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from attrs import frozen

from pointsman import Router
from pointsman.testing import (
    Answer,
    ReceivedRequest,
    Reply,
    ScriptedServer,
    openrouter_answer,
    openrouter_error,
    openrouter_stream,
    openrouter_usage,
    provider_rate_limit,
)
from tests.support import readme
from tests.support.command import Ran, pointsman, run
from tests.support.site import Site

ROOT = readme.ROOT
FRIDAY = ROOT / "examples" / "friday" / "pointsman.toml"
KEYS = {"LITELLM_MASTER_KEY": "sk-1111", "OPENROUTER_API_KEY": "sk-2222"}

ASK, SINK, ORDER, EMBED = "Install a backend and ask", "Write a sink", "Order and disable rules", "Embed it"


def play(request: ReceivedRequest) -> Answer:
    """OpenRouter, on a day on which the provider of one model is busy."""
    if request.method == "GET":
        return Reply(200, {"data": {"label": "sk-...222", "limit": None, "limit_remaining": None}})
    if str(request.model).startswith("z-ai/"):
        return provider_rate_limit(str(request.model), "Z.AI")
    spent = {"prompt_tokens": 31, "completion_tokens": 80, "total_tokens": 111, "cost": 0.000108}
    usage = openrouter_usage("") | spent
    if request.streamed:
        return openrouter_stream(str(request.model), readme.PIECES, usage=usage, provider="Anthropic", delay=0.03)
    return openrouter_answer(str(request.model), "".join(readme.PIECES), usage=usage, provider="Anthropic")


@frozen
class Reader:
    """Somebody who does what the README says, in a folder of their own."""

    folder: Path
    openrouter: ScriptedServer

    def configure(self, text: str) -> None:
        """Writes a configuration, with this OpenRouter in place of the real one."""
        table = "[plugins.openrouter_direct]\n"
        assert text.count(table) == 1
        text = text.replace(table, f'{table}base_url = "{self.openrouter.url}/api/v1"\n')
        (self.folder / "pointsman.toml").write_text(text, "utf-8")

    def install(self, pyproject: str, modules: Mapping[str, str]) -> None:
        """Installs a distribution."""
        name, offers = readme.project(pyproject)
        (self.folder / "site").mkdir(exist_ok=True)
        Site(self.folder / "site").install(name, offers=offers, modules=modules)

    def pointsman(self, line: str) -> Ran:
        command, *words = shlex.split(line)
        assert command == "pointsman"
        return pointsman(*words, cwd=self.folder, variables=self._variables())

    def python(self, program: str) -> Ran:
        return run("-c", program, cwd=self.folder, variables=self._variables())

    def _variables(self) -> dict[str, str]:
        return KEYS | {"PYTHONPATH": os.pathsep.join([str(self.folder / "site"), str(ROOT)])}


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    with ScriptedServer(play) as server:
        yield Reader(tmp_path, server)


def same_but_for_the_pace(said: str, screen: str) -> bool:
    pace = r"\d+\.\d\d s|\d+ tokens/s"
    return re.sub(pace, "#", said) == re.sub(pace, "#", screen)


def test_the_first_user_checks_and_asks_and_sees_what_the_readme_shows(reader: Reader) -> None:
    (configuration,) = readme.blocks("toml", ASK)
    reader.configure(configuration)
    _, check, ask = readme.commands(ASK, after="export")
    checked = reader.pointsman(check)
    assert (checked.status, checked.err) == (0, "")
    assert "openrouter_direct: takes the key" in checked.out
    (screen,) = readme.blocks("text", ASK)
    asked = reader.pointsman(ask)
    assert asked.status == 0
    assert asked.out in screen
    assert same_but_for_the_pace(asked.err.replace("\n\n\n", f"\n\n{asked.out}\n"), screen)


def test_the_second_user_sees_the_sink_at_work(reader: Reader) -> None:
    (configuration,), (pyproject, table) = readme.blocks("toml", ASK), readme.blocks("toml", SINK)
    (module,) = readme.blocks("python", SINK)
    reader.install(pyproject, {"acme_ledger": module})
    reader.configure(configuration + table)
    shows, asks, cat = readme.commands(SINK, after="pointsman plugins")
    shown = reader.pointsman(shows)
    assert shown.out.startswith("ledger, active\n  from acme-ledger 1.0\n  Writes down what each answer has cost.\n")
    assert 'file  text, default "ledger.csv"' in shown.out
    assert reader.pointsman(asks).status == 0
    written = (reader.folder / cat.removeprefix("cat ")).read_text("utf-8")
    assert readme.blocks("text", SINK) == [written]


def test_the_third_user_sees_the_order_in_hooks_and_in_explain(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    # The tests of the example itself may have loaded it in this process.
    monkeypatch.delitem(sys.modules, "acme_policies", raising=False)
    policies = ROOT / "examples" / "policies"
    module = (policies / "src" / "acme_policies" / "__init__.py").read_text("utf-8")
    reader.install((policies / "pyproject.toml").read_text("utf-8"), {"acme_policies": module})
    (configuration,) = readme.blocks("toml", ORDER)
    (reader.folder / "pointsman.toml").write_text(configuration, "utf-8")
    order, decision = readme.blocks("text", ORDER)
    hooks = reader.pointsman("pointsman hooks")
    assert hooks.out.startswith(order.removesuffix("...\n"))
    assert "retries" not in hooks.out
    line, _, screen = decision.removeprefix("$ ").partition("\n")
    explained = reader.pointsman(line)
    assert (explained.status, explained.out, explained.err) == (0, screen, "")
    (reader.folder / "pointsman.toml").write_text(configuration.partition("[order]")[0], "utf-8")
    steps = re.findall(r"^\d\. (\w+) ", reader.pointsman(line).out, re.MULTILINE)
    assert steps == ["tasks", "rollout", "cheapest"], "without the order"


@pytest.mark.parametrize("program", readme.blocks("python", EMBED), ids=["threads", "a loop", "a stream"])
def test_the_fourth_users_programs_run(program: str, reader: Reader) -> None:
    reader.configure(readme.blocks("toml", ASK)[0])
    ran = reader.python(program)
    assert (ran.status, ran.err) == (0, "")
    assert "".join(readme.PIECES) in ran.out


def test_the_program_in_the_cores_readme_runs(reader: Reader) -> None:
    (program,) = readme.blocks("python", text=readme.CORE)
    reader.configure(FRIDAY.read_text("utf-8").replace("http://localhost:4000", "http://127.0.0.1:9"))
    ran = reader.python(program)
    assert (ran.status, ran.err) == (0, "")
    assert "".join(readme.PIECES) in ran.out


def test_when_nothing_answers_the_cores_readmes_last_resort_does_and_health_says_what_is_shut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (text,) = readme.blocks("toml", text=readme.CORE)
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


def test_the_demo_shows_the_lines_that_the_readme_shows() -> None:
    (screen,) = (block for block in readme.blocks("text") if "1/12" in block)
    shown = pointsman("demo", "--pace", "0").out.splitlines()
    lines = [line for line in screen.splitlines() if line.strip() != "..."]
    assert len(lines) == 4
    assert [line for line in lines if line not in shown] == []


def test_the_two_commands_from_a_fresh_clone_are_on_the_first_screen() -> None:
    top = "\n".join(readme.TEXT.splitlines()[:40])
    assert [command for command in ("python3 dev.py demo\n", "python3 dev.py test\n") if command not in top] == []


def test_a_wrong_configuration_is_reported_as_the_readme_shows(reader: Reader) -> None:
    (reader.folder / "pointsman.toml").write_text('[router]\ndedline = "20s"\n', "utf-8")
    assert reader.pointsman("pointsman check").err in readme.blocks("text", "Commands")


def test_every_option_that_the_readme_names_exists() -> None:
    commands = ("demo", "ask", "check", "explain", "config show")
    offered = "".join(pointsman(*command.split(), "--help").out for command in commands) + pointsman("--help").out
    named = set(re.findall(r"--[a-z][a-z-]+", readme.TEXT)) - {"--editable"}
    assert {"--proxy", "--share", "--json", "--task", "--ping", "--origin"} <= named
    assert [option for option in named if option not in offered] == []


@pytest.mark.parametrize("folder", [ROOT, ROOT / "core"], ids=["root", "core"])
def test_every_link_leads_somewhere(folder: Path) -> None:
    text = (folder / "README.md").read_text("utf-8")
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    titles = {title.lower().replace(" ", "-") for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}
    inside = [link for link in links if link.startswith("#") and link[1:] not in titles]
    assert inside + [link for link in links if link[0] != "#" and not (folder / link).exists()] == []
