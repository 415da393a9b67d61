"""How much work one piece of a streamed answer is, counted in instructions: no clock, no noise.

Raise a bound here only with a reason that is worth it for everybody who reads a stream.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from attrs import frozen

from pointsman.chat import Chunk
from pointsman.context import AttemptContext
from pointsman.errors import AttemptFailed, Failure
from pointsman.settings import Secret
from pointsman_openai_compatible import OpenAICompatible, ServerError
from pointsman_openai_compatible.exchange import Reply
from pointsman_openai_compatible.places import Opened, here
from pointsman_openai_compatible.streaming import chunks_of
from tests.support.counting import instructions, only_here
from tests.wire.loopback import a_request, a_target

PIECE = 337
"""Instructions for one that is nothing but text."""

WHOLE = 1600
"""Instructions for a whole answer, from the request to the `Completion`, without those of the HTTP library."""

FAILED = 2370
"""The same for an answer that is an error, up to its `Failure`."""

pytestmark = only_here


@frozen
class Said:
    """A response that has come."""

    body: bytes
    status: int = 200
    headers: Mapping[str, str] = {}

    async def pieces(self) -> AsyncIterator[bytes]:
        yield self.body

    async def close(self) -> None:
        return


def event(text: str, finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    body = {"id": "gen-1", "provider": "Nordlys", "model": "small", "choices": [choice]}
    return b"data: %b\n\n" % json.dumps(body).encode()


def wrong(error: ServerError) -> Failure:
    raise AssertionError(error)


def read(count: int) -> list[Any]:
    async def main() -> list[Any]:
        body = event("word ") * count + event("", "stop")
        told = chunks_of(Said(body), {}, wrong, max_body=10**9, max_event=10**9, role_once=False)
        return [one async for together in told if not isinstance(together, Reply) for one in together]

    return asyncio.run(main())


def test_a_piece_of_text_is_no_more_work_than_it_was():
    assert [type(one) for one in read(2)] == [Chunk] * 3
    few, many = instructions(lambda: read(100)), instructions(lambda: read(200))
    assert (many - few) / 100 <= PIECE


@frozen(eq=False)
class AtOnce:
    """A way to a server that has answered."""

    said: Said

    async def send(self, url: str, headers: Mapping[str, str], content: bytes | None, connect_timeout: float) -> Said:
        return self.said

    async def close(self) -> None:
        return


def work_of(said: Said) -> float:
    """Instructions for one request that is answered so."""
    backend = OpenAICompatible(base_url="http://localhost/v1", api_key=Secret("sk-nobody"))
    ctx = AttemptContext(request_id="r", number=1, time_limit=30.0)
    loop = asyncio.new_event_loop()

    async def ask(count: int) -> None:
        backend._opened[here()] = Opened(AtOnce(said))
        for _ in range(count):
            with suppress(AttemptFailed):
                await backend.complete(a_target(), a_request(), ctx)

    loop.run_until_complete(ask(5))
    few, many = (instructions(partial(loop.run_until_complete, ask(count))) for count in (10, 20))
    loop.close()
    return (many - few) / 10


JSON = {"content-type": "application/json"}


def test_a_whole_answer_is_no_more_work_than_it_was():
    choice = {"index": 0, "message": {"role": "assistant", "content": "word"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 42, "completion_tokens": 24, "total_tokens": 66}
    body = {"id": "gen-1", "provider": "Nordlys", "model": "small", "choices": [choice], "usage": usage}
    assert work_of(Said(json.dumps(body).encode(), headers=JSON)) <= WHOLE


def test_an_error_is_no_more_work_than_it_was():
    error = {"message": "The service is overloaded.", "code": 503, "type": "server"}
    assert work_of(Said(json.dumps({"error": error}).encode(), 503, JSON)) <= FAILED
