"""Time and memory: what a stream may take, and what a slow reader does to it."""

import asyncio
import sys
import time
import weakref
from time import monotonic

import pytest

from pointsman import flow
from pointsman.chat import Chunk, Usage
from pointsman.errors import DeadlineExceeded, StreamInterrupted
from pointsman.flow import READ_AHEAD
from pointsman.relaying import MOST_HELD
from tests.core.support import Gatekeeper, failure, swallowing_cancellation
from tests.support.streaming import (
    ROLE,
    USAGE,
    Telling,
    World,
    end,
    in_both_faces,
    nothing_left,
    one_backend,
    pause,
    said,
    silence,
    two_backends,
    whole,
)

SHORT = 0.06
LATE = 0.2
"""How much later than its limit something may end, on a busy machine."""


class Empties:
    """For ever, at short intervals, chunks that say nothing."""

    def __init__(self, *empties):
        self._empties = empties

    def __iter__(self):
        while True:
            yield pause(0.01)
            yield from self._empties


class Timed:
    """Reads, and remembers how long that took."""

    def __init__(self, read):
        self._read = read
        self.took = 0.0

    def __call__(self, world, **options):
        began = monotonic()
        try:
            return self._read(world, **options)
        finally:
            self.took = monotonic() - began


# The first content


@in_both_faces
@pytest.mark.parametrize(
    "script",
    [
        [silence],
        [ROLE, silence],
        Empties(ROLE),
        Empties(Chunk(), Chunk(usage=USAGE), Chunk(id="gen-1")),
        [end("stop"), silence],
    ],
    ids=["silence", "a role and silence", "roles for ever", "empty chunks for ever", "an end and silence"],
)
def test_nothing_but_content_satisfies_the_first_token_limit(read, script):
    read = Timed(read)
    reading = read(two_backends([script], [whole("fine")], first_token_timeout=SHORT))
    assert reading.text == "fine"
    assert reading.tried == [("proxy", "timeout"), ("direct", "answered")]
    assert SHORT <= reading.decision.attempts[0].duration < SHORT + LATE
    failed = reading.decision.attempts[0].failure
    assert (failed.blames, failed.breaker, failed.delivery) == ("model", "counts", "possibly_billed")


BLOCK = Chunk(reasoning_details=({"type": "reasoning.encrypted", "data": "b2s="},))


@in_both_faces
def test_chunks_that_count_tokens_and_have_no_content_are_not_kept(read):
    counts = [Chunk(usage=Usage(output_tokens=n)) for n in range(2 * MOST_HELD)]
    kept = [weakref.ref(chunk) for chunk in counts]
    alive = []

    async def look():
        alive.append(sum(1 for chunk in kept if chunk() is not None))

    def script():
        while counts:
            yield counts.pop(0)
        yield look
        yield from whole("fine")

    reading = read(World({"proxy": Telling([script()])}))
    assert alive[0] <= 3
    assert reading.text == "fine"
    assert reading.chunks[0].usage == Usage(output_tokens=2 * MOST_HELD - 1)


@in_both_faces
@pytest.mark.parametrize(
    "empties", [[BLOCK], [BLOCK, Chunk(usage=USAGE)], [end("stop")]], ids=["blocks", "blocks and usage", "ends"]
)
def test_a_stream_that_says_nothing_for_ever_is_a_bad_response_before_it_fills_the_memory(read, empties):
    def for_ever():
        while True:
            yield from empties

    world = two_backends([for_ever()], [whole("fine")])
    reading = read(world)
    assert reading.text == "fine"
    assert reading.tried == [("proxy", "bad_response"), ("direct", "answered")]
    assert world.proxy.yielded == MOST_HELD + 1
    failed = reading.decision.attempts[0].failure
    assert (failed.blames, failed.breaker, failed.delivery) == ("model", "counts", "possibly_billed")


@in_both_faces
def test_content_in_time_may_be_followed_by_more_than_the_first_token_limit(read):
    slow = [*said("a"), pause(SHORT), *said("b"), pause(SHORT), *said("c"), end()]
    assert read(one_backend(*slow, first_token_timeout=SHORT)).text == "abc"


@in_both_faces
def test_the_attempt_limit_of_whole_answers_is_not_one_for_streams(read):
    slow = [*said("a"), pause(SHORT), *said("b"), end()]
    assert read(one_backend(*slow, attempt_timeout=SHORT / 2)).text == "ab"


@in_both_faces
def test_a_first_token_limit_that_the_deadline_clips_moves_no_breaker(read):
    gate = Gatekeeper()
    world = World({"proxy": Telling([[silence]])}, router={"first_token_timeout": 5}, plugins={"gate": gate})
    reading = read(world, deadline=SHORT)
    assert isinstance(reading.error, DeadlineExceeded)
    ((_, outcome, failed),) = gate.settled
    assert (outcome, failed.kind, failed.breaker) == ("failed", "timeout", "neutral")


@in_both_faces
def test_a_backend_that_ignores_its_cancellation_delays_nobody(read, caplog):
    read = Timed(read)
    world = two_backends([[swallowing_cancellation]], [whole("fine")], first_token_timeout=SHORT)
    world.deaf = True
    reading = read(world)
    assert reading.text == "fine"
    assert reading.decision.duration < SHORT + LATE
    assert "plugin proxy ignored the cancellation" in caplog.text


# Between contents


@in_both_faces
@pytest.mark.parametrize(
    "rest",
    [[silence], [Chunk(usage=USAGE), silence], Empties(ROLE), Empties(Chunk(), Chunk(usage=USAGE))],
    ids=["silence", "usage and silence", "roles for ever", "empty chunks for ever"],
)
def test_nothing_but_content_satisfies_the_idle_limit(read, rest):
    def script():
        yield from said("Hel", "lo")
        yield from rest

    reading = read(two_backends([script()], idle_timeout=SHORT))
    assert isinstance(reading.error, StreamInterrupted)
    assert reading.text == reading.partial.text == "Hello"
    assert SHORT <= reading.decision.duration < SHORT + LATE
    assert reading.world.direct.calls == 0
    (attempt,) = reading.decision.attempts
    assert (attempt.failure.kind, attempt.failure.breaker) == ("interrupted", "counts")
    assert "nothing more came in time" in str(reading.error)


@in_both_faces
def test_content_that_keeps_coming_may_take_longer_than_the_idle_limit(read):
    slow = [step for n in range(8) for step in (*said(str(n)), pause(SHORT / 3))]
    reading = read(one_backend(*slow, end(), idle_timeout=SHORT))
    assert reading.text == "01234567"
    assert reading.decision.duration > 2 * SHORT


@in_both_faces
def test_a_server_that_said_why_it_stopped_and_does_not_hang_up_has_answered(read):
    reading = read(one_backend(*said("Hello"), end("stop"), Chunk(usage=USAGE), silence, idle_timeout=SHORT))
    assert (reading.completion.text, reading.completion.usage) == ("Hello", USAGE)
    assert reading.tried == [("proxy", "answered")]


@in_both_faces
def test_nothing_more_is_shown_of_a_backend_that_ignores_that_its_time_is_up(read):
    deaf = [*said("Hel"), swallowing_cancellation, *said("lo"), end()]
    world = one_backend(*deaf, idle_timeout=SHORT)
    world.deaf = True
    reading = read(world)
    assert isinstance(reading.error, StreamInterrupted)
    assert reading.text == reading.partial.text == "Hel"
    assert reading.world.proxy.yielded == 2


# The deadline


@in_both_faces
def test_the_deadline_is_over_everything(read):
    slow = [step for n in range(100) for step in (*said(str(n % 10)), pause(SHORT / 10))]
    reading = read(one_backend(*slow, end()), deadline=2 * SHORT)
    assert isinstance(reading.error, StreamInterrupted)
    assert 2 * SHORT <= reading.decision.duration < 2 * SHORT + LATE
    assert reading.text == reading.partial.text
    assert len(reading.text) > 5
    assert "the deadline passed" in str(reading.error)


@in_both_faces
def test_a_stream_that_the_deadline_ends_moves_no_breaker(read):
    gate = Gatekeeper()
    world = World({"proxy": Telling([[*said("a"), silence]])}, plugins={"gate": gate})
    read(world, deadline=SHORT)
    ((_, outcome, failed),) = gate.settled
    assert (outcome, failed.kind, failed.breaker) == ("failed", "interrupted", "neutral")


@in_both_faces
def test_the_clock_starts_when_the_first_chunk_is_asked_for(read):
    world = one_backend(*whole("fine"))
    with world.new_router() as router:
        stream = router.stream("hello", deadline=SHORT)
        time.sleep(2 * SHORT)
        assert stream.collect().text == "fine"


# Slow readers

LONG = 5 * READ_AHEAD


def counting():
    return [*said(*(f"{n} " for n in range(LONG))), end()]


def test_a_slow_reader_holds_the_backend_back():
    world = one_backend(*counting())
    with world.new_router() as router, router.stream("hello") as stream:
        next(stream)
        assert settled(world.proxy) in (READ_AHEAD, READ_AHEAD + 1)
        taken = [next(stream) for _ in range(READ_AHEAD)]
        assert len(taken) == READ_AHEAD
        assert settled(world.proxy) <= 2 * READ_AHEAD + 1
        assert "".join(chunk.text for chunk in [*taken, *stream]) == "".join(f"{n} " for n in range(1, LONG))
    world.check()


def settled(backend):
    """How far a backend has come that comes no further, or has got to its end."""
    before = -1
    while before != backend.yielded:
        before = backend.yielded
        time.sleep(0.02)
    return before


def test_a_slow_reader_holds_the_backend_back_in_an_event_loop_too():
    world = one_backend(*counting())

    async def settled_here():
        before = -1
        while before != world.proxy.yielded:
            before = world.proxy.yielded
            await asyncio.sleep(0.005)
        return before

    async def main():
        async with world.new_router() as router:
            stream = router.astream("hello")
            await anext(stream)
            assert await settled_here() == READ_AHEAD
            taken = [await anext(stream) for _ in range(READ_AHEAD)]
            assert await settled_here() <= 2 * READ_AHEAD + 1
            texts = [chunk.text async for chunk in stream]
            assert "".join([*(chunk.text for chunk in taken), *texts]) == "".join(f"{n} " for n in range(1, LONG))
            await nothing_left()

    asyncio.run(main())
    world.check()


@pytest.mark.parametrize("held", [0.85 * SHORT, 2.5 * SHORT], ids=["less than the limit", "more than the limit"])
def test_the_time_that_a_reader_holds_the_backend_back_is_no_idle_time(held):
    # The backend takes its time when it is let go: what it waited before does not count.
    script = [*said(*["a"] * READ_AHEAD), pause(0.7 * SHORT), *said("b"), end()]
    world = one_backend(*script, idle_timeout=SHORT)

    async def main():
        async with world.new_router() as router:
            stream = router.astream("hello")
            text = (await anext(stream)).text
            await asyncio.sleep(held)
            async for chunk in stream:
                text += chunk.text
            assert text == "a" * READ_AHEAD + "b"

    asyncio.run(main())
    world.check()


def test_a_reader_that_stops_for_a_while_goes_on_where_it_was():
    world = one_backend(*counting(), idle_timeout=SHORT)

    async def main():
        async with world.new_router() as router:
            texts = []
            async for chunk in router.astream("hello"):
                if len(texts) in (1, READ_AHEAD, 3 * READ_AHEAD):
                    await asyncio.sleep(2 * SHORT)
                texts.append(chunk.text)
            assert "".join(texts) == "".join(f"{n} " for n in range(LONG))

    asyncio.run(main())
    world.check()


def test_a_reader_that_takes_longer_than_the_deadline_is_told_so():
    world = one_backend(*counting())
    with world.new_router() as router, router.stream("hello", deadline=SHORT) as stream:
        next(stream)
        time.sleep(2 * SHORT)
        with pytest.raises(StreamInterrupted, match="the deadline passed") as caught:
            list(stream)
    assert caught.value.partial
    assert caught.value.partial.text.startswith("0 1 2 ")
    failed = world.last().attempts[0].failure
    assert failed
    assert failed.breaker == "neutral"


def test_a_chunk_is_never_lost_between_two_threads(monkeypatch):
    # No room, and threads that change places all the time: every chunk is handed over by itself.
    monkeypatch.setattr(flow, "READ_AHEAD", 1)
    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        world = one_backend(*said(*(f"{n} " for n in range(2000))), end())
        with world.new_router() as router:
            texts = [chunk.text for chunk in router.stream("hello", deadline=20)]
    finally:
        sys.setswitchinterval(switching)
    assert "".join(texts) == "".join(f"{n} " for n in range(2000))


def test_what_was_read_ahead_is_shown_before_the_error():
    world = one_backend(*said("a", "b", "c"), failure())
    with world.new_router() as router, router.stream("hello") as stream:
        first = next(stream)
        world.proxy.closed()
        texts = [first.text]
        with pytest.raises(StreamInterrupted) as caught:
            texts.extend(chunk.text for chunk in stream)
    assert texts == ["a", "b", "c"]
    assert caught.value.partial
    assert caught.value.partial.text == "abc"


def test_what_was_read_is_not_kept():
    # All that the router keeps of a chunk is its text.
    made: list[weakref.ref[Chunk]] = []

    def script():
        for n in range(100):
            chunk = Chunk(text=str(n), raw={"n": n})
            made.append(weakref.ref(chunk))
            yield chunk
            del chunk
        yield silence

    world = World({"proxy": Telling([script()])})
    with world.new_router() as router, router.stream("hello") as stream:
        for _ in range(100):
            next(stream)
        assert sum(chunk() is not None for chunk in made) <= 3  # in the hands of the script, the backend and the relay
