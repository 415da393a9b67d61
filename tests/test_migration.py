"""Every step of `docs/migration.md`, in its order: what it promises of who takes which path."""

import os
import random
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import tomlkit
from click.testing import CliRunner, Result

from pointsman import Router
from pointsman.cli.app import app
from pointsman.testing import ScriptedServer, litellm_answer

PAGE = (Path(__file__).parents[1] / "docs" / "migration.md").read_text("utf-8")
USERS = range(300)


def step(number: int) -> str:
    return PAGE.split(f"\n## {number}. ")[1].split("\n## ")[0]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


class Migration:
    """The configuration as the page has left it so far."""

    def __init__(self, folder: Path, server: ScriptedServer) -> None:
        self.file = folder / "pointsman.toml"
        self.server = server

    def do(self, number: int) -> None:
        """Puts the tables of a step into the file, each in place of the one that was there."""
        document = tomlkit.parse(self.file.read_text("utf-8")) if self.file.exists() else tomlkit.document()
        for block in blocks(step(number), "toml"):
            for section, table in tomlkit.parse(block).items():
                if section == "plugins" and "plugins" in document:
                    for name, one in cast("Any", table).items():
                        cast("Any", document)["plugins"][name] = one
                else:
                    document[section] = table
        if number == 7:
            del document["rollout"]
        for backend in ("litellm_backend", "openrouter_direct"):
            cast("Any", document)["plugins"][backend]["base_url"] = self.server.url
        self.file.write_text(tomlkit.dumps(document), "utf-8")

    def paths(self, users: range = USERS) -> list[str | None]:
        with Router.from_toml(self.file, watch=False) as router:
            return [router.explain("x", unit=user).path for user in users]


@pytest.fixture
def migration(tmp_path, monkeypatch):
    for name, value in {"LITELLM_MASTER_KEY": "sk-a", "OPENROUTER_API_KEY": "sk-b"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("LITELLM_PERCENTAGE", raising=False)
    monkeypatch.delenv("LITELLM_OFF", raising=False)
    monkeypatch.chdir(tmp_path)
    with ScriptedServer(lambda request: litellm_answer(str(request.model), "Kære Mette")) as server:
        yield Migration(tmp_path, server)


def command(line: str) -> Result:
    words = line.split()
    assert words[0] == "pointsman"
    ran = CliRunner().invoke(app, words[1:])
    assert ran.exit_code == 0, ran.output
    return ran


def before() -> Callable[[int | None], bool]:
    """The function that the page begins with."""
    (code,) = blocks(PAGE.split("## What there was")[1].split("\n## ")[0], "python")
    names = {"os": SimpleNamespace(environ=os.environ), "random": random, "__name__": "before"}
    exec(code, names)
    return names["use_proxy"]  # type: ignore[return-value]


@pytest.mark.parametrize("percentage", [0, 1, 10, 50, 99, 100])
def test_1_everyone_takes_the_path_that_they_took_before(migration, monkeypatch, percentage):
    monkeypatch.setenv("USE_LITELLM", "true")
    monkeypatch.setenv("LITELLM_PERCENTAGE", str(percentage))
    migration.do(1)
    use_proxy = before()
    assert migration.paths() == ["proxied" if use_proxy(user) else "direct" for user in USERS]


def test_1_the_switch_sends_everyone_back(migration, monkeypatch):
    monkeypatch.setenv("LITELLM_PERCENTAGE", "100")
    monkeypatch.setenv("LITELLM_OFF", "true")
    migration.do(1)
    assert set(migration.paths()) == {"direct"}


def test_1_who_has_no_id_is_drawn(migration, monkeypatch):
    monkeypatch.setenv("LITELLM_PERCENTAGE", "50")
    migration.do(1)
    with Router.from_toml(migration.file, watch=False) as router:
        assert {router.explain("x").path for _ in range(60)} == {"proxied", "direct"}


def test_2_requests_are_recorded_with_the_assigned_path(migration, monkeypatch):
    monkeypatch.setenv("LITELLM_PERCENTAGE", "100")
    migration.do(1)
    migration.do(2)
    with Router.from_toml(migration.file, watch=False) as router:
        router.complete("x", unit=42)
    assert "proxied" in command("pointsman logs --path proxied").stdout


def test_3_testers_take_the_new_path_and_the_guard_stands_by(migration):
    for number in (1, 2, 3):
        migration.do(number)
    assert migration.paths(range(5, 9)) == ["direct", "direct", "proxied", "direct"]
    with Router.from_toml(migration.file, watch=False) as router:
        assert "guard" in [one.plugin for one in router.snapshot.hooks.select_model]


def test_4_nobody_moves_when_the_percentage_moves_into_the_file(migration, monkeypatch):
    for number in (1, 2, 3):
        migration.do(number)
    monkeypatch.setenv("LITELLM_PERCENTAGE", "10")
    from_environment = migration.paths()
    migration.do(4)
    monkeypatch.delenv("LITELLM_PERCENTAGE")
    assert migration.paths() == from_environment


def test_5_the_commands_move_users_forward_only_and_everyone_back_at_once(migration):
    for number in (1, 2, 3, 4):
        migration.do(number)
    lines = [line for block in blocks(step(5), "console") for line in block.splitlines()]
    assert [line.split()[2] for line in lines] == ["preview", "status", "set", "off", "on", "set"]
    with Router.from_toml(migration.file, watch=False) as router:
        router.complete("x", unit=3)
    seen = {"10": migration.paths()}
    for line in lines:
        command(line)
        seen[line.removeprefix("pointsman rollout ")] = migration.paths()
    assert seen["preview proxied=50"] == seen["status"] == seen["10"]
    assert [path == "proxied" for path in seen["set proxied=50 --yes"]] == [user % 100 < 50 for user in USERS]
    moved = zip(seen["10"], seen["set proxied=50 --yes"], strict=True)
    assert all(now == "proxied" for was, now in moved if was == "proxied")
    assert set(seen["off"]) == {"direct"}
    assert seen["on"] == seen["set proxied=50 --yes"]
    assert set(seen["set proxied=100 --yes"]) == {"proxied"}


def test_6_nobody_moves_when_the_buckets_change(migration):
    for number in (1, 2, 3, 4):
        migration.do(number)
    command("pointsman rollout set proxied=100 --yes")
    at_the_end = migration.paths()
    migration.do(6)
    assert migration.paths() == at_the_end
    with Router.from_toml(migration.file, watch=False) as router:
        assert router.explain("x", unit="no number").path == "proxied"


def test_7_the_old_path_is_gone_and_openrouter_is_still_the_last_resort(migration):
    for number in (1, 2, 3, 4, 6, 7):
        migration.do(number)
    with Router.from_toml(migration.file, watch=False) as router:
        decision = router.explain("x", unit=42)
    assert decision.path == "proxied"
    assert [target.backend for target in decision.candidates] == ["litellm_backend", "openrouter_direct"]
