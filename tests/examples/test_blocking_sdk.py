"""What the guide says of a backend around an SDK that blocks, and of what its threads cost."""

import asyncio
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pointsman import AllTargetsFailed, DeadlineExceeded, RouteError, Router, Secret
from pointsman.testing import Hang, Reply, ScriptedServer
from tests.examples import guide
from tests.support.sockets import closed_port

ANSWER = Reply(200, {"text": "På fredag.", "tokens": {"in": 12, "out": 9}})


@pytest.fixture
def sdk(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(Path(__file__).with_name("sdk"))
    return pytest.importorskip("acme_sdk")


@pytest.fixture
def acme(sdk: ModuleType) -> Any:
    """The guide's class."""
    (section,) = (one for one in guide.sections() if "class Acme" in one.plugin)
    defined: dict[str, Any] = {"__name__": guide.MODULE}
    exec(section.plugin, defined)
    return defined["Acme"]


def router(acme: Any, url: str) -> Router:
    return Router(
        {
            # Without the pauses between retries, which chance can let end just when the deadline passes.
            "plugins": {"acme": acme(base_url=url, api_key=Secret("sk-2222")), "retries": {"enabled": False}},
            "models": {"large": {"on": {"acme": "large-2"}}},
            "tasks": {"contract": {"models": ["large"]}},
            "router": {"default_task": "contract"},
        }
    )


def threads() -> int:
    """How many threads `asyncio.to_thread` is using or has used, in every loop."""
    return sum(thread.name.startswith("asyncio_") for thread in threading.enumerate())


def test_parameters_and_answers_pass_through(acme: Any, server: ScriptedServer) -> None:
    server.play(ANSWER)
    with router(acme, server.url) as routing:
        reply = routing.complete("Hvornår?", temperature=0.3)
    assert (reply.text, reply.usage.output_tokens) == ("På fredag.", 9)
    assert server.requests[0].json["temperature"] == 0.3


@pytest.mark.parametrize(("status", "kind"), [(401, "auth"), (429, "rate_limit"), (503, "server")])
def test_what_the_sdk_raises_is_classified(acme: Any, server: ScriptedServer, status: int, kind: str) -> None:
    server.play(Reply(status))
    with router(acme, server.url) as routing, pytest.raises(AllTargetsFailed) as caught:
        routing.complete("Hvornår?", deadline=1)
    assert {attempt.failure.kind for attempt in caught.value.attempts if attempt.failure} == {kind}


def test_a_server_that_is_not_there_was_sent_nothing(acme: Any) -> None:
    with router(acme, f"http://127.0.0.1:{closed_port()}") as routing, pytest.raises(RouteError) as caught:
        routing.complete("Hvornår?", deadline=0.3)
    failure = caught.value.attempts[0].failure
    assert failure is not None
    assert (failure.kind, failure.delivery) == ("connect", "not_sent")


def test_with_the_time_limit_passed_on_the_thread_ends_with_the_attempt(acme: Any, server: ScriptedServer) -> None:
    server.play(Hang())
    with router(acme, server.url) as routing:
        with pytest.raises(DeadlineExceeded):
            routing.complete("Hvornår?", deadline=0.2)
        assert server.wait_for(lambda: not server.connected, 1.0)
        began = time.monotonic()
    assert time.monotonic() - began < 0.8


def test_without_it_the_request_is_on_time_and_the_close_waits_for_the_thread(
    acme: Any, sdk: ModuleType, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Patient(sdk.Client):
        """An SDK that has a timeout of its own, whatever it is told."""

        def __init__(self, *arguments: Any, **settings: Any) -> None:
            super().__init__(*arguments, **(settings | {"timeout": 1.0}))

    monkeypatch.setattr(sdk, "Client", Patient)
    server.play(Hang())
    began = time.monotonic()
    with router(acme, server.url) as routing:
        with pytest.raises(DeadlineExceeded):
            routing.complete("Hvornår?", deadline=0.2)
        assert time.monotonic() - began < 0.8
        assert threads() == 1
        assert server.connected == 1
    assert 0.9 < time.monotonic() - began < 2.0
    assert threads() == 0


def test_once_all_threads_are_taken_calls_wait_for_one(acme: Any, server: ScriptedServer) -> None:
    server.play(lambda request: Reply(200, ANSWER.json, delay=0.2))

    async def crowd() -> int:
        routing = router(acme, server.url)
        loop = asyncio.get_running_loop()
        async with routing:
            await asyncio.to_thread(time.monotonic)  # makes the executor
            places = loop._default_executor._max_workers  # pyright: ignore[reportAttributeAccessIssue]
            replies = await asyncio.gather(*(routing.acomplete("Hvornår?") for _ in range(places + 1)))
            assert {reply.text for reply in replies} == {"På fredag."}
        return places

    began = time.monotonic()
    places = asyncio.run(crowd())
    assert 5 <= places <= 32
    assert time.monotonic() - began > 0.4
