"""What a stream costs in memory: its text, however many chunks that came in."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from attrs import define

from pointsman.testing.replies import sse_event
from tests.support.wires import event
from tests.wire.streamed import EVENT_STREAM, router_over

FEW, MANY = 1_000, 10_000
PACKET = 10
"""Chunks of an answer that come at once."""


def tool(arguments: str) -> dict[str, Any]:
    call = {"index": 0, "id": "a", "type": "function", "function": {"name": "look", "arguments": arguments}}
    return event() | {"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]}


def thought(text: str) -> dict[str, Any]:
    details = [{"type": "reasoning.text", "index": 0, "text": text}]
    return event() | {"choices": [{"index": 0, "delta": {"reasoning": text, "reasoning_details": details}}]}


WORDS = {"text": event("word "), "arguments": tool("word "), "reasoning": thought("word "), "nothing": event()}


@define(eq=False)
class Endless(httpx.AsyncBaseTransport):
    """Says the same so often, then ends well."""

    packet: bytes
    times: int = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers=EVENT_STREAM, stream=_Body(self))


@define(eq=False)
class _Body(httpx.AsyncByteStream):
    said: Endless

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self.said.times):
            yield self.said.packet
        yield sse_event(event("end")) + sse_event(event(None, "length"))


@pytest.mark.parametrize("word", WORDS.values(), ids=WORDS)
def test_memory_does_not_grow_with_the_number_of_chunks(word):
    transport = Endless(sse_event(word) * PACKET)

    async def peak(chunks: int) -> int:
        transport.times = chunks // PACKET
        async with router_over("openrouter_direct", transport) as router, router.astream("hello") as stream:
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            async for _ in stream:
                pass
            return tracemalloc.get_traced_memory()[1] - before

    async def both() -> int:
        await peak(PACKET)  # what is made once
        return await peak(MANY) - await peak(FEW)

    tracemalloc.start()
    try:
        grown = asyncio.run(both())
    finally:
        tracemalloc.stop()
    text = (MANY - FEW) * len("word ")
    # The text is kept, for it is the answer: reasoning twice, once to be read and once to be sent back; and twice
    # more while the whole of it is put together. A chunk on its own takes more than 100 times as much as its word.
    assert grown < 5 * text


def test_a_chunk_takes_far_more_than_its_text():
    """Or the test above would prove nothing."""
    transport, kept = Endless(sse_event(event("word ")) * PACKET, FEW // PACKET), []

    async def read() -> None:
        async with router_over("openrouter_direct", transport) as router, router.astream("hello") as stream:
            async for chunk in stream:
                kept.append(chunk)  # noqa: PERF401 - as a caller does

    tracemalloc.start()
    try:
        asyncio.run(read())
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > 100 * FEW * len("word ")
