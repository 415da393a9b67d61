"""A program that blocks its event loop longer than a limit: what the server sent meanwhile came in time."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from pointsman.testing import SSE, Reply, ScriptedServer, openrouter_answer
from tests.core.support import Gatekeeper
from tests.support.streaming import nothing_left, until
from tests.support.wires import SLUG, Wires, event

LIMIT = 0.2
BLOCKED = 2 * LIMIT
PIECES = [f"{n} " for n in range(10)]


@pytest.fixture
def wires() -> Iterator[Wires]:
    with ScriptedServer() as litellm, ScriptedServer() as openrouter:
        yield Wires(litellm=litellm, openrouter=openrouter, plugins={"gate": Gatekeeper()})


def settled(wires: Wires) -> list[str | None]:
    gate = wires.plugins["gate"]
    assert isinstance(gate, Gatekeeper)
    return gate.outcomes


def test_what_a_server_went_on_to_send_is_no_silence(wires: Wires) -> None:
    wires.router = {"idle_timeout": LIMIT}
    wires.litellm.play(SSE([*map(event, PIECES), event("", "stop")], delay=0.05))

    async def main() -> str:
        async with wires.new_router() as router:
            text = ""
            async for chunk in router.astream("hello"):
                if not text:
                    time.sleep(BLOCKED)  # noqa: ASYNC251 - that is what this is about
                text += chunk.text
            await nothing_left(1)
            return text

    assert asyncio.run(main()) == "".join(PIECES)
    assert settled(wires) == ["answered"]


def test_a_first_content_that_came_while_the_loop_was_blocked_is_in_time(wires: Wires) -> None:
    wires.router = {"first_token_timeout": LIMIT}
    wires.litellm.play(SSE([*map(event, PIECES), event("", "stop")], delay=0.01))

    async def main() -> str:
        async with wires.new_router() as router:
            reading = asyncio.create_task(router.astream("hello").collect())
            await until(lambda: bool(wires.litellm.requests))
            time.sleep(BLOCKED)  # noqa: ASYNC251 - that is what this is about
            return (await reading).text

    assert asyncio.run(main()) == "".join(PIECES)
    assert settled(wires) == ["answered"]


def test_a_whole_answer_that_came_while_the_loop_was_blocked_is_in_time(wires: Wires) -> None:
    wires.router = {"attempt_timeout": LIMIT}
    reply = openrouter_answer(SLUG, "fine")
    wires.litellm.play(Reply(json=reply.json, delay=0.02))

    async def main() -> str:
        async with wires.new_router() as router:
            asking = asyncio.create_task(router.acomplete("hello"))
            await until(lambda: bool(wires.litellm.requests))
            time.sleep(BLOCKED)  # noqa: ASYNC251 - that is what this is about
            return (await asking).text

    assert asyncio.run(main()) == "fine"
    assert settled(wires) == ["answered"]
