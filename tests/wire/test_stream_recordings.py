"""Recorded streams of OpenRouter and of LiteLLM proxies, through the real backends and a router, however they are cut.

The recordings are not part of this project; without them the module is skipped.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import httpx
import pytest
from attrs import define, evolve, field

from pointsman import Router
from pointsman.chat import Chunk, Completion
from pointsman.errors import Failure, PointsmanError, RouteError, StreamInterrupted
from pointsman.testing import SSE, Reply, ScriptedServer
from tests.support.streaming import World, in_both_faces
from tests.wire.recordings import MISSING, Recording, are_here, check_answer, check_failure, expectations, recording

if not are_here():
    pytest.skip(MISSING, allow_module_level=True)

EXPECTED = expectations(stream=True)

EMPTY = {
    "litellm_proxy/v1.106.2/main/stream_jsonforstream.json",
    "litellm_proxy/v1.109.1/main/stream_jsonforstream.json",
}
"""Streams that end well and have said nothing. It is the router who notices, and it knows no HTTP status."""


def config(backend: str, plugins: Mapping[str, Any], **settings: Any) -> dict[str, Any]:
    return {
        # The same target would be tried again, being the last one.
        "router": {"max_attempts": 1},
        "plugins": {backend: settings, "breaker": {"enabled": False}, **plugins},
        "models": {"recorded": {"on": {backend: "recorded"}}},
    }


def options(recorded: Recording) -> dict[str, Any]:
    """Whatever the router would send, the recorded body is laid over it."""
    return {"extra_body": recorded.asked}


# Over loopback


@define(eq=False)
class Replaying(World):
    """A server that says what was recorded, and a router in front of it."""

    recorded: Recording = field(kw_only=True)
    server: ScriptedServer = field(kw_only=True)
    backends: Mapping[str, Any] = field(factory=dict[str, Any], init=False)

    def new_router(self) -> Router:
        headers, body = dict(self.recorded.headers), self.recorded.body
        streams = body.startswith((b"data:", b":"))
        answer = SSE([body], done=False, headers=headers) if streams else None
        self.server.play(answer or Reply(self.recorded.status, body=body, headers=headers))
        return Router(config(self.recorded.backend, {"sink": self.sink}, base_url=self.server.url))


def check(name: str, told: Completion | PointsmanError) -> None:
    """What a reader was told at the end is what it is expected to be."""
    expected, asked = EXPECTED[name], recording(name).asked
    answer, failure = outcome_of(told)
    if expected["outcome"] == "completion":
        assert failure is None
    else:
        assert failure is not None
        check_failure(failure, expected | ({"status": None} if name in EMPTY else {}), asked)
    if expected["outcome"] == "failure":
        assert answer is None
    else:
        assert answer is not None
        check_answer(answer, expected)


def outcome_of(told: Completion | PointsmanError) -> tuple[Completion | None, Failure | None]:
    """The answer, or what had arrived of it, and what failed."""
    assert isinstance(told, Completion | RouteError)
    assert told.decision is not None
    (attempt,) = told.decision.attempts
    answer = told.partial if isinstance(told, StreamInterrupted) else told if isinstance(told, Completion) else None
    return answer and evolve(answer, decision=None), attempt.failure


@in_both_faces
@pytest.mark.parametrize("name", EXPECTED)
def test_a_recorded_stream_means_what_it_is_expected_to_mean(name, read, server):
    recorded = recording(name)
    reading = read(Replaying(recorded=recorded, server=server), **options(recorded))
    check(name, reading.error or reading.completion)
    if EXPECTED[name]["outcome"] == "failure":
        assert reading.chunks == [], "what failed before its first content was not seen"


# Cut anew, at the transport's seam


@define(eq=False)
class Pieces(httpx.AsyncByteStream):
    """A body that comes in these pieces."""

    pieces: Sequence[bytes]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece


@define(eq=False)
class Cutting(httpx.AsyncBaseTransport):
    """Answers with the recording, its body cut at `cuts`."""

    recorded: Recording
    cuts: Sequence[int] = ()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body, edges = self.recorded.body, [0, *self.cuts, len(self.recorded.body)]
        pieces = [body[begin:end] for begin, end in pairwise(edges)]
        return httpx.Response(self.recorded.status, headers=self.recorded.headers, stream=Pieces(pieces))


async def read_through(router: Router, recorded: Recording) -> tuple[list[Chunk], Completion | PointsmanError]:
    chunks: list[Chunk] = []
    async with router.astream("hello", **options(recorded)) as stream:
        try:
            async for chunk in stream:
                chunks.append(chunk)  # noqa: PERF401 - what came before an error counts
        except PointsmanError as error:
            return chunks, error
        return chunks, stream.completion


def differing(name: str, ways: Sequence[Sequence[int]]) -> list[Sequence[int]]:
    """The ways of cutting a recorded stream that make a difference to the reader."""
    recorded = recording(name)
    transport = Cutting(recorded)
    settings: dict[str, Any] = {"base_url": "http://unused.invalid", "transport": lambda: transport}

    async def run() -> list[Sequence[int]]:
        found: list[Sequence[int]] = []
        async with Router(config(recorded.backend, {}, **settings)) as router:
            uncut, told = await read_through(router, recorded)
            check(name, told)
            for transport.cuts in ways:
                chunks, again = await read_through(router, recorded)
                if chunks != uncut or outcome_of(again) != outcome_of(told):
                    found.append(transport.cuts)
        return found

    return asyncio.run(run())


STREAMED = [name for name, one in EXPECTED.items() if one.get("status", 200) == 200]

SHORT = [
    "litellm_proxy/v1.106.2/main/stream_success_include_usage.json",
    "litellm_proxy/v1.109.1/main/stream_or-streamerr.json",
    "openrouter/activeagent__test_agent_functions_with_streaming__0.json",
]
"""An answer with usage, an error in the middle, and a tool call between comments."""


@pytest.mark.parametrize("name", SHORT)
def test_a_recorded_stream_may_be_cut_at_every_byte(name):
    size = len(recording(name).body)
    assert differing(name, [[place] for place in range(1, size)] + [range(1, size)]) == []


@pytest.mark.parametrize("name", STREAMED)
def test_a_recorded_stream_may_be_cut_anywhere(name):
    chance = random.Random(name)
    places = range(1, len(recording(name).body))
    ways = [sorted(chance.sample(places, min(many, len(places)))) for many in (1, 2, 5, 20, 100)]
    assert differing(name, ways) == []
