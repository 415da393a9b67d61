"""Whatever happens to a stream: its reader has what one target sent, or a prefix of it and one error."""

import asyncio

from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.chat import Chunk, Completion
from pointsman.errors import PointsmanError, RouteError, StreamInterrupted
from pointsman.events import AttemptFinished, RequestFinished
from tests.core.support import Gatekeeper, failure, story
from tests.faults.table import proves
from tests.support.streaming import ROLE, USAGE, Telling, World, call, end, nothing_left, pause, silence

LIMIT = 0.03
"""Seconds for the first content, and for each further one."""

KINDS = ("server", "connect", "rate_limit", "bad_response", "auth", "not_found", "content_policy", "bad_request")

BEGINNINGS = st.lists(st.sampled_from(["role", "empty", "usage", "pause"]), max_size=3)
CONTENTS = st.lists(st.sampled_from(["text", "reasoning", "call", "empty", "usage", "pause"]), max_size=6)
FINISHES = st.sampled_from([[], ["stop"], ["length"], ["stop", "usage"], ["stop", "length", "usage"]])
FAULTS = st.sampled_from(["", "", "raise", "garbage", "silence", *KINDS])


@frozen
class Script:
    """What one attempt does, in words."""

    words: list[str]

    def steps(self, name: str):
        """The steps of an attempt that signs whatever it says with its name."""
        meanings = {
            "role": ROLE,
            "empty": Chunk(),
            "usage": Chunk(usage=USAGE),
            "pause": pause(0),
            "stop": end("stop"),
            "length": end("length"),
            "raise": ValueError(),
            "garbage": "garbage",
            "silence": silence,
        }
        for place, word in enumerate(self.words):
            signed = f"<{name} {place}>"
            if word == "text":
                yield Chunk(text=signed, id=name)
            elif word == "reasoning":
                yield Chunk(reasoning=signed, id=name)
            elif word == "call":
                yield call(0, signed, name="f")
            else:
                yield meanings.get(word) or failure(word)

    def shown(self, name: str) -> list[str]:
        """What a reader can be shown of it."""
        return [f"<{name} {place}>" for place, word in enumerate(self.words) if word in ("text", "reasoning", "call")]


@st.composite
def scripts(draw):
    beginning, content, finish, fault = draw(BEGINNINGS), draw(CONTENTS), draw(FINISHES), draw(FAULTS)
    words = [*beginning, *content, *finish]
    place = draw(st.integers(0, len(words)))
    return Script([*words[:place], fault] if fault else words)


def piece(chunk: Chunk) -> str:
    return chunk.text + chunk.reasoning + "".join(delta.arguments for delta in chunk.tool_calls)


def everything(answer: Completion) -> list[str]:
    """All that an answer says, letter by letter, in no order: its text and its reasoning are apart."""
    return sorted(answer.text + answer.reasoning + "".join(one.arguments for one in answer.tool_calls))


@frozen
class Read:
    pieces: list[str]
    error: PointsmanError | None = None
    completion: Completion | None = None
    """Where the reader came to the end."""


def read(world: World, leave_after: int | None) -> Read:
    pieces: list[str] = []
    with world.new_router() as router, router.stream("hello") as stream:
        try:
            for chunk in stream:
                pieces += [said] if (said := piece(chunk)) else []
                if len(pieces) == leave_after:
                    return Read(pieces)
        except PointsmanError as error:
            return Read(pieces, error)
        return Read(pieces, completion=stream.completion)


def aread(world: World, leave_after: int | None) -> Read:
    async def main() -> Read:
        pieces: list[str] = []
        async with world.new_router() as router:
            try:
                async with router.astream("hello") as stream:
                    async for chunk in stream:
                        pieces.extend([said] if (said := piece(chunk)) else [])
                        if len(pieces) == leave_after:
                            return Read(pieces)
                    return Read(pieces, completion=stream.completion)
            except PointsmanError as error:
                return Read(pieces, error)
            finally:
                await nothing_left()

    return asyncio.run(main())


@proves(7)
@settings(max_examples=75, deadline=None)
@given(
    proxy=st.lists(scripts(), min_size=1, max_size=2),
    direct=st.lists(scripts(), min_size=1, max_size=2),
    leave_after=st.none() | st.none() | st.integers(1, 4),
    reader=st.sampled_from([read, aread]),
)
def test_a_reader_has_what_one_target_sent_or_its_beginning_and_one_error(proxy, direct, leave_after, reader):
    by_backend = {"proxy": proxy, "direct": direct}
    gate = Gatekeeper()
    backends = {
        backend: Telling([script.steps(f"{backend}{n}") for n, script in enumerate(own)])
        for backend, own in by_backend.items()
    }
    world = World(
        backends,
        models=("small", "large"),
        router={"first_token_timeout": LIMIT, "idle_timeout": LIMIT, "deadline": 5},
        plugins={"gate": gate},
    )
    got = reader(world, leave_after)

    # One record of everything, and as many attempts as calls.
    *_, last = events = world.check()
    gate.check()
    assert isinstance(last, RequestFinished)
    attempts = last.decision.attempts
    assert len(attempts) == sum(backend.calls for backend in backends.values())
    assert [event.outcome for event in story(events) if isinstance(event, AttemptFinished)] == [
        attempt.outcome for attempt in attempts
    ]

    # What each attempt could show, in the order of the attempts.
    numbers = dict.fromkeys(by_backend, 0)
    shown: list[list[str]] = []
    for attempt in attempts:
        backend = attempt.target.backend
        number = numbers[backend]
        numbers[backend] += 1
        own = by_backend[backend]
        shown.append(own[number].shown(f"{backend}{number}") if number < len(own) else ["fine"])

    # Nothing was shown of an attempt that another one followed, and the last one's is whole and in order.
    assert not any(shown[:-1])
    if got.completion is not None:
        assert got.pieces == shown[-1]
        assert everything(got.completion) == sorted("".join(got.pieces))
        assert last.outcome == "answered"
    elif got.error is None:
        assert got.pieces == shown[-1][:leave_after]
        assert last.outcome in ("abandoned", "answered", "failed")
    else:
        assert isinstance(got.error, RouteError)
        assert got.error.decision == last.decision
        assert last.outcome == "failed"
        assert isinstance(got.error, StreamInterrupted) == bool(got.pieces)
        if isinstance(got.error, StreamInterrupted):
            assert got.pieces == shown[-1]
            assert got.error.partial is not None
            assert everything(got.error.partial) == sorted("".join(got.pieces))
