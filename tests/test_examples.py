"""The scripts of `examples/friday` run as their README says. `examples/tool_loop.py` has a test of its own."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from pointsman.testing import (
    ReceivedRequest,
    Reply,
    ScriptedServer,
    free_tier_rate_limit,
    litellm_answer,
    openrouter_answer,
    openrouter_error,
)
from tests.support.command import Ran, run

EXAMPLE = Path(__file__).parents[1] / "examples" / "friday"
TEXT = "Kære Mette Hansen. Vi kan komme på fredag kl. 9."
KEYS = {"LITELLM_MASTER_KEY": "sk-1111", "OPENROUTER_API_KEY": "sk-2222"}


def replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, f"the configuration has no longer one {old}"
    return text.replace(old, new)


@frozen
class Office:
    """A copy of the example whose two backends are played."""

    folder: Path
    proxy: ScriptedServer
    openrouter: ScriptedServer

    def share(self, per_cent: int) -> None:
        """Does what the README's table says to try."""
        file = self.folder / "pointsman.toml"
        file.write_text(replaced(file.read_text("utf-8"), "proxied = 50", f"proxied = {per_cent}"), "utf-8")

    def run(self, script: str) -> Ran:
        return run(self.folder / script, variables=KEYS)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with (
        ScriptedServer(lambda request: litellm_answer(str(request.model), TEXT)) as proxy,
        ScriptedServer(lambda request: openrouter_answer(str(request.model), TEXT)) as openrouter,
    ):
        folder = shutil.copytree(EXAMPLE, tmp_path / "friday")
        config = (folder / "pointsman.toml").read_text("utf-8")
        config = replaced(config, "http://localhost:4000", proxy.url)
        config = replaced(
            config,
            "[plugins.openrouter_direct]\n",
            f'[plugins.openrouter_direct]\nbase_url = "{openrouter.url}/api/v1"\n',
        )
        (folder / "pointsman.toml").write_text(config, "utf-8")
        yield Office(folder, proxy, openrouter)


def only_paid(request: ReceivedRequest) -> Reply:
    """OpenRouter when the account's free allowance is spent."""
    model = str(request.model)
    return free_tier_rate_limit(90) if model.endswith(":free") else openrouter_answer(model, TEXT)


def told(ran: Ran) -> tuple[list[dict[str, Any]], str]:
    """What the sink wrote on stdout, and what the script did."""
    lines = ran.out.splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.startswith("{")], "".join(
        line for line in lines if not line.startswith("{")
    )


def test_one_draft_is_written_and_its_events_are_on_stdout_too(office: Office) -> None:
    ran = office.run("complete.py")
    events, text = told(ran)
    assert (ran.status, text) == (0, f"{TEXT}\n")
    assert ran.err == "\n[openrouter_direct/glm-4.5-air-free, path direct]\n"
    assert [event["event"] for event in events] == [
        "request_started",
        "attempt_started",
        "attempt_finished",
        "request_finished",
    ]
    assert {event["labels"]["source"] for event in events} == {"rengøring.nu"}


def test_the_shares_move_users_and_a_stopped_proxy_loses_nobody(office: Office) -> None:
    office.share(100)
    assert office.run("complete.py").err == "\n[litellm_backend/glm-4.5-air-free, path proxied]\n"
    office.proxy.stop()
    ran = office.run("complete.py")
    assert (ran.status, ran.err) == (0, "\n[openrouter_direct/glm-4.5-air-free, path proxied]\n")


def test_four_tasks_are_answered_at_once_by_the_models_of_each(office: Office) -> None:
    ran = office.run("acomplete.py")
    _, text = told(ran)
    assert (ran.status, ran.err) == (0, "")
    backend = "litellm_backend" if office.proxy.requests else "openrouter_direct"
    answers = [
        ("lead-analysis", "claude-3-haiku"),
        ("email-draft", "glm-4.5-air-free"),
        ("complex-reasoning", "glm-4.5-air-free"),
        ("chat", "glm-4.5-air-free"),
    ]
    assert sorted(text.split("\n\n")[:-1]) == sorted(
        f"## {task} [{backend}/{model}]\n{TEXT}" for task, model in answers
    )
    asked = office.proxy.requests + office.openrouter.requests
    assert len(asked) == 4
    assert {request.json["temperature"] for request in asked} == {0.3}


def test_a_spent_allowance_costs_the_chat_and_says_when_to_try_again(office: Office) -> None:
    office.share(0)
    office.openrouter.play(only_paid)
    ran = office.run("acomplete.py")
    _, text = told(ran)
    assert ran.status == 1
    assert {line for line in text.splitlines() if line.startswith("##")} == {
        "## lead-analysis [openrouter_direct/claude-3-haiku]",
        "## email-draft [openrouter_direct/claude-3-haiku]",
        "## complex-reasoning [openrouter_direct/llama-3.1-70b]",
    }
    assert ran.err.startswith("## chat\nNo answer: ")
    assert "(openrouter_direct/glm-4.5-air-free: " in ran.err
    assert ran.err.endswith("\nTry again in 90 s.\n\n")


def test_when_nobody_answers_the_script_says_what_was_tried(office: Office) -> None:
    office.openrouter.play(openrouter_error(502, "Provider returned error", {"provider_name": "Nordlys"}))
    ran = office.run("complete.py")
    assert (ran.status, told(ran)[1]) == (1, "")
    first, *tried = ran.err.splitlines()
    assert first.startswith("No answer: ")
    assert [line.partition(": ")[0] for line in tried] == [
        "  openrouter_direct/glm-4.5-air-free",
        "  openrouter_direct/gpt-oss-20b-free",
    ] * 2  # and each has a second chance


def test_without_its_keys_the_script_says_which_are_missing(office: Office) -> None:
    ran = run(office.folder / "complete.py", variables=dict.fromkeys(KEYS, ""))
    assert ran.status == 1
    for name in KEYS:
        assert f"environment variable {name} is not set" in ran.err
