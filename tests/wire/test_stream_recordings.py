"""Recorded streams of OpenRouter and of LiteLLM proxies, through the real backends and a router, however they are cut.

The recordings are not part of this project; without them the module is skipped.
"""

import asyncio
import random
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import pytest
from attrs import define, field

from pointsman import Router
from pointsman.intake import NOT_IN_EXTRA_BODY
from pointsman.testing import SSE, Reply, ScriptedServer
from tests.support.streaming import World, in_both_faces
from tests.wire.recordings import MISSING, Recording, are_here, check_answer, check_failure, expectations, recording
from tests.wire.streamed import Saying, Told, config, read, router_over

if not are_here():
    pytest.skip(MISSING, allow_module_level=True)

EXPECTED = expectations(stream=True)

EMPTY = {f"litellm_proxy/v{version}/main/stream_jsonforstream.json" for version in ("1.106.2", "1.109.1")}
"""Streams that end well and have said nothing. It is the router who notices, and it knows no HTTP status."""


def check(name: str, told: Told) -> None:
    """What a reader was told is what the recording is expected to mean."""
    expected, asked = EXPECTED[name], recording(name).asked
    if expected["outcome"] == "completion":
        assert told.failure is None
    else:
        assert told.failure is not None
        check_failure(told.failure, expected | ({"status": None} if name in EMPTY else {}), asked)
    if expected["outcome"] == "failure":
        assert told.answer is None
    else:
        assert told.answer is not None
        check_answer(told.answer, expected)


def options(recorded: Recording) -> dict[str, Any]:
    """Whatever the router would send, the recorded body is laid over it, but for what a caller may not lay over it."""
    return {"extra_body": {key: value for key, value in recorded.asked.items() if key not in NOT_IN_EXTRA_BODY}}


# Over loopback


@define(eq=False)
class Replaying(World):
    """A server that says what was recorded, and a router in front of it."""

    recorded: Recording = field(kw_only=True)
    server: ScriptedServer = field(kw_only=True)
    backends: Mapping[str, Any] = field(factory=dict[str, Any], init=False)

    def new_router(self) -> Router:
        headers, body = dict(self.recorded.headers), self.recorded.body
        whole = Reply(self.recorded.status, body=body, headers=headers)
        streamed = SSE([body], done=False, headers=headers)
        self.server.play(streamed if body.startswith((b"data:", b":")) else whole)
        return Router(config(self.recorded.backend, {"sink": self.sink}, base_url=self.server.url))


@in_both_faces
@pytest.mark.parametrize("name", EXPECTED)
def test_a_recorded_stream_means_what_it_is_expected_to_mean(name, read, server):
    recorded = recording(name)
    reading = read(Replaying(recorded=recorded, server=server), **options(recorded))
    check(name, Told.of(reading.chunks, reading.error or reading.completion))


# Cut anew, at the transport's seam


def differing(name: str, ways: Sequence[Sequence[int]]) -> list[Sequence[int]]:
    """The ways of cutting a recorded stream that make a difference to the reader."""
    recorded = recording(name)
    transport = Saying([recorded.body], recorded.status, recorded.headers)

    async def run() -> list[Sequence[int]]:
        found: list[Sequence[int]] = []
        async with router_over(recorded.backend, transport) as router:
            uncut = await read(router, **options(recorded))
            check(name, uncut)
            for cuts in ways:
                edges = [0, *cuts, len(recorded.body)]
                transport.pieces = [recorded.body[begin:end] for begin, end in pairwise(edges)]
                if await read(router, **options(recorded)) != uncut:
                    found.append(cuts)
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
