"""How much work one piece of a streamed answer is, counted in instructions: no clock, no noise.

Raise a bound here only with a reason that is worth it for everybody who reads a stream.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from attrs import frozen

from pointsman.chat import Chunk
from pointsman.errors import Failure
from pointsman_openai_compatible import ServerError
from pointsman_openai_compatible.exchange import Reply
from pointsman_openai_compatible.streaming import chunks_of
from tests.support.counting import instructions, only_here

PIECE = 340
"""Instructions for one that is nothing but text."""

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
