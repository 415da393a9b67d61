"""`pointsman check`: whether everything is in place, and what to do where it is not."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import define

from pointsman import BackendInvocation, hookimpl
from pointsman.chat import Completion
from pointsman.errors import AttemptFailed, Failure
from pointsman.testing import Drop, ReceivedRequest, Reply, ScriptedServer, no_db_connection, openrouter_error
from tests.cli.conftest import Desk
from tests.support.litellm_proxy import LiteLLMProxy
from tests.support.reference import LITELLM_MODELS

KEYS = {"LITELLM_MASTER_KEY": "sk-canary-1111", "OPENROUTER_API_KEY": "sk-canary-2222"}

TWO_BACKENDS = """
[plugins.litellm_backend]
base_url = "{proxy}"
api_key = {{ env = "LITELLM_MASTER_KEY" }}

[plugins.openrouter_direct]
base_url = "{openrouter}/api/v1"
api_key = {{ env = "OPENROUTER_API_KEY" }}

[models.glm]
on = {{ litellm_backend = "openrouter/z-ai/glm", openrouter_direct = "z-ai/glm" }}
"""

MODELS = Reply(200, {"object": "list", "data": [{"id": "glm", "object": "model"}, {"id": "haiku", "object": "model"}]})
KEY = Reply(200, {"data": {"label": "sk-or-v1-canary", "limit": 20, "limit_remaining": 12.345, "usage": 7.655}})


@pytest.fixture
def proxy() -> Iterator[ScriptedServer]:
    with ScriptedServer(lambda _: MODELS) as server:
        yield server


@pytest.fixture
def openrouter() -> Iterator[ScriptedServer]:
    with ScriptedServer(lambda _: KEY) as server:
        yield server


@pytest.fixture
def two(desk: Desk, proxy: ScriptedServer, openrouter: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk whose configuration has these two backends, with their keys."""
    desk.configure(TWO_BACKENDS.format(proxy=proxy.url, openrouter=openrouter.url))
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    return desk


def findings(desk: Desk, about: str, *words: str, status: int = 0) -> list[tuple[str, str]]:
    found = desk.document("check", *words, status=status)["findings"]
    return [(one["result"], one["message"]) for one in found if one["about"] == about]


def test_everything_that_was_looked_at_is_told(two: Desk) -> None:
    said = two.run("check").stdout
    assert said.splitlines() == [
        "configuration  ok  pointsman.toml: 1 model, 0 tasks",
        "plugin         ok  litellm_backend (pointsman-litellm-backend 0.1.0)",
        "               ok  openrouter_direct (pointsman-openrouter-direct 0.1.0)",
        "hook           ok  select_model: tasks, rollout, litellm_backend",
        "               ok  decide_fallback: fallback, retries",
        "               ok  admit: breaker, retries",
        "key            ok  plugins.litellm_backend.api_key from environment variable LITELLM_MASTER_KEY",
        "               ok  plugins.openrouter_direct.api_key from environment variable OPENROUTER_API_KEY",
        "backend        -   not asked; --ping asks each one, at no cost",
        "",
        "All is well.",
    ]


def test_without_ping_nobody_is_called(two: Desk, proxy: ScriptedServer, openrouter: ScriptedServer) -> None:
    two.run("check")
    assert not proxy.requests + openrouter.requests


def test_each_missing_key_is_told_with_its_place_and_the_remedy(two: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.delenv(name)
    ran = two.run("check", "--ping", status=2)
    assert (
        "key            FAILED  plugins.litellm_backend.api_key: environment variable LITELLM_MASTER_KEY is not set, "
        "or empty\n                       fix: set it before the program starts (pointsman.toml:4)\n"
    ) in ran.stdout
    assert "2 failed" in ran.stdout
    assert findings(two, "backend", "--ping", status=2) == [("unknown", "not asked, for a key is missing")]


def test_a_key_that_cannot_be_sent_is_told(two: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_MASTER_KEY", "sk canary")
    (wrong, right) = findings(two, "key", status=2)
    assert (wrong[0], right[0]) == ("failed", "ok")


def test_a_wrong_configuration_is_a_document_too(desk: Desk) -> None:
    desk.configure("[rotuer]\n[models.m]\non = {}\n")
    document = desk.document("check", status=2)
    assert document["ok"] is False
    first, second = document["findings"]
    assert (first["about"], first["message"], first["remedy"]) == (
        "configuration",
        "unknown section",
        'did you mean "router"?',
    )
    assert (first["problem"]["line"], first["problem"]["column"], second["problem"]["line"]) == (1, 2, 3)


def test_a_configuration_without_a_backend_is_not_called_well(desk: Desk) -> None:
    desk.configure("[router]\ndeadline = 5\n")
    ran = desk.run("check", status=2)
    failed, fix, *_ = ran.stdout.splitlines()
    assert failed == "configuration  FAILED  pointsman.toml: 0 models, 0 tasks, no backend"
    assert fix.strip() == "fix: name a backend in a table [plugins.NAME]; `pointsman plugins` lists those installed"
    assert "All is well" not in ran.stdout


# --ping


@pytest.mark.litellm
def test_the_real_proxy_is_asked_and_calls_nobody(
    desk: Desk, litellm: LiteLLMProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for address in (litellm.url, f"{litellm.url}/v1"):
        desk.configure(f'[plugins.litellm_backend]\nbase_url = "{address}"\napi_key = {{ env = "ACME_KEY" }}\n')
        monkeypatch.setenv("ACME_KEY", litellm.master_key)
        ((result, said),) = findings(desk, "backend", "--ping")
        assert (result, said) == ("ok", f"litellm_backend: lists {len(LITELLM_MODELS)} models")
        monkeypatch.setenv("ACME_KEY", "sk-canary-wrong")
        ((result, said),) = findings(desk, "backend", "--ping", status=1)
        assert said.startswith("litellm_backend: the credentials were refused")
    assert not litellm.upstream.requests


def test_each_backend_is_asked_one_thing_that_costs_nothing(
    two: Desk, proxy: ScriptedServer, openrouter: ScriptedServer
) -> None:
    assert findings(two, "backend", "--ping") == [
        ("ok", "litellm_backend: lists 2 models"),
        ("ok", "openrouter_direct: takes the key, $12.35 left of its limit"),
    ]
    asked = [*proxy.requests, *openrouter.requests]
    assert [(one.method, one.path, one.body) for one in asked] == [("GET", "/models", b""), ("GET", "/api/v1/key", b"")]
    assert [one.headers["authorization"] for one in asked] == [f"Bearer {key}" for key in KEYS.values()]
    assert all(server.wait_for(lambda server=server: server.connected == 0) for server in (proxy, openrouter))


@pytest.mark.parametrize(
    ("answer", "said", "remedy"),
    [
        (openrouter_error(401, "No auth credentials found"), "the credentials were refused", "put the right key"),
        (no_db_connection(), "the credentials were refused", "put the right key"),
        (Reply(404, {"detail": "Not Found"}), "no such model", "correct the address"),
        (Reply(200, "<html>hello</html>", headers={"content-type": "text/html"}), "not JSON", "correct the address"),
        (Reply(502, "bad gateway"), "the server failed", "look into its own log"),
        (Drop(), "the server hung up", "start it, or correct its address"),
    ],
)
def test_a_backend_that_does_not_answer_is_told_with_a_remedy(
    two: Desk, proxy: ScriptedServer, answer: object, said: str, remedy: str
) -> None:
    proxy.play(answer)  # pyright: ignore[reportArgumentType] - each of them is an answer
    document = two.document("check", "--ping", status=1)
    failed, right = [one for one in document["findings"] if one["about"] == "backend"]
    assert failed["message"].startswith("litellm_backend: ")
    assert said in failed["message"]
    assert failed["remedy"].startswith(remedy)
    assert right["result"] == "ok"


def test_a_backend_that_is_down_is_told(two: Desk, proxy: ScriptedServer) -> None:
    proxy.stop()
    said = two.run("check", "--ping", status=1).stdout
    assert "backend        FAILED  litellm_backend: not reached: the connection failed\n" in said
    assert "\n1 failed\n" in said


def test_a_key_that_the_server_repeats_is_not_shown(two: Desk, openrouter: ScriptedServer) -> None:
    def repeat(request: ReceivedRequest) -> Reply:
        return openrouter_error(401, f"Bad key {request.headers['authorization']}")

    openrouter.play(repeat)
    two.run("check", "--ping", status=1)  # which looks for keys in all that is said


@define(eq=False)
class Talker(BackendInvocation):
    """Says what a test wants, or fails as it wants."""

    says: str = ""

    @hookimpl
    async def complete(self, target, request, ctx):
        return Completion(text="", finish_reason="stop")

    @hookimpl
    async def ping_backend(self) -> Any:
        match self.says:
            case "fail":
                raise AttemptFailed(Failure.of("payment", "nothing left"))
            case "raise":
                raise KeyError("sk-canary")
            case "exit":
                raise SystemExit(3)
            case "number":
                return 3
            case said:
                return said or None


@pytest.mark.parametrize(
    ("says", "result", "said"),
    [
        ("", "ok", "talker: answers"),
        ("hello \x1b[31m", "ok", "talker: hello \\x1b[31m"),
        ("fail", "failed", "talker: nothing left"),
        ("raise", "failed", "plugin talker: ping_backend raised KeyError"),
        ("exit", "failed", "plugin talker: ping_backend raised SystemExit"),
        ("number", "failed", "plugin talker: ping_backend returned int, not text"),
    ],
)
def test_whatever_a_plugin_says_of_its_backend_is_told(desk: Desk, says: str, result: str, said: str) -> None:
    desk.site.install("talker", offers={"talker": Talker})
    desk.configure(f"[plugins.talker]\nsays = {json.dumps(says)}\n")
    status = 0 if result == "ok" else 1
    ((found, message),) = findings(desk, "backend", "--ping", status=status)
    assert found == result
    assert message.split(" at test_check.py:")[0] == said


def test_a_backend_that_cannot_be_pinged_is_no_failure(desk: Desk) -> None:
    desk.configure("[plugins.echo]\n")
    assert findings(desk, "backend", "--ping") == [("unknown", "echo: its plugin cannot ask it")]
