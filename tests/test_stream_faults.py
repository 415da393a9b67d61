"""What servers do to streams, on real sockets and through the real backends, in both faces.

Before the first content the next target answers, and nobody sees why; after it the stream is interrupted, and what had
arrived is there. Every request that a server saw is on record once, and within a second nothing is left of it.
"""

import asyncio
import gc
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import trustme
from attrs import frozen

from pointsman.errors import AllTargetsFailed, ContentPolicy
from pointsman.events import RequestFinished
from pointsman.flow import READ_AHEAD
from pointsman.testing import (
    SSE,
    Drop,
    Hang,
    RawBytes,
    Reply,
    ScriptedServer,
    litellm_stream,
    openrouter_answer,
    openrouter_stream,
)
from pointsman.testing.replies import Connection, chunk, head, sse_event
from tests.core.support import stories
from tests.faults.table import row
from tests.support.canaries import assert_clean
from tests.support.streaming import FACES, Reading, nothing_left, until
from tests.support.wires import (
    ALIAS,
    CHUNKED,
    DONE,
    SLUG,
    STREAM,
    WITHIN,
    Wires,
    chunked,
    error_event,
    event,
    left_open,
    more_is_open,
)

LIMITS = {"first_token_timeout": 20, "idle_timeout": 20, "deadline": 45}
"""Seconds, so long that nothing but a fault of the machine or of ours reaches them."""

FIRST_TOKEN_LIMIT, IDLE_LIMIT = 0.25, 0.2
"""Seconds, in the tests that wait for one of them. The second target, too, has the first one to begin its answer."""

PIECES = ["Kære ", "Mette ", "Hansen, ", "rengøring ", "på ", "fredag."]
TEXT = "".join(PIECES)

both_faces = pytest.mark.parametrize("face", FACES)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Servers and settings for all of these tests, after which no thread and no descriptor is left."""
    # One certificate instead of all the world's, which every router would read anew.
    ca_file = tmp_path_factory.mktemp("ca") / "ca.pem"
    trustme.CA().cert_pem.write_to_path(str(ca_file))
    gc.collect()
    before = left_open()
    with ScriptedServer() as litellm, ScriptedServer() as openrouter:
        yield {"litellm": litellm, "openrouter": openrouter, "settings": {"ca_file": str(ca_file)}}
    gc.collect()
    assert not more_is_open(before)


@pytest.fixture
def wires(servers: dict[str, Any], caplog: pytest.LogCaptureFixture) -> Iterator[Wires]:
    caplog.set_level(logging.DEBUG)
    servers["litellm"].play(())
    servers["openrouter"].play(openrouter_stream(SLUG, PIECES))
    yield Wires(router=dict(LIMITS), **servers)
    assert_clean(caplog.text)


@frozen(kw_only=True)
class Cut(Drop):
    """A hanging up that overtakes nothing: the reader has what was sent in one piece, for it has the first of it."""

    wires: Wires

    async def send_to(self, connection: Connection) -> bool:
        await until(lambda: self.wires.has_shown)
        return await Drop.send_to(self, connection)


def moved_on(reading: Reading, *kinds: str) -> None:
    """Nobody saw what the first target did: the second one answered."""
    assert reading.error is None
    assert reading.text == TEXT
    (first, kind), second = reading.tried
    assert first == "litellm_backend"
    assert kind in kinds
    assert second == ("openrouter_direct", "answered")


def ended_at(limit: float, reading: Reading) -> None:
    """The first attempt took as long as this limit, and not as long as any other."""
    assert limit <= reading.decision.attempts[0].duration < limit + 5


def hung_up_on(server: ScriptedServer) -> None:
    """The server sees that its one client left before the end."""
    assert server.wait_for(lambda: len(server.abandoned) == 1, WITHIN)


def interrupted(reading: Reading, text: str) -> None:
    """The reader has what came and one error; nobody else was asked."""
    assert reading.text == reading.partial.text == text
    assert reading.tried == [("litellm_backend", "interrupted")]
    assert len(reading.decision.attempts) == 1
    failure = reading.decision.attempts[0].failure
    assert (failure.blames, failure.breaker) == ("model", "counts")


# Rows 10 to 13: a stream that stalls, or is cut

FIRST, SECOND = event("Hel"), event("lo")

BEFORE = {
    "before the headers": b"",
    "in the headers": CHUNKED[:30],
    "after the headers": CHUNKED,
    "after a comment": chunked(b": PROCESSING\n\n", closed=False),
    "in the first event": chunked(sse_event(FIRST)[:20], closed=False),
    "before the end of the first event": chunked(sse_event(FIRST)[:-1], closed=False),
    "after the role": chunked(event(), closed=False),
    "after an empty answer's end": chunked(event(), event(None, "stop"), closed=False),
}

AFTER = {
    "after the first content": (chunked(FIRST, closed=False), "Hel"),
    "in the second event": (chunked(FIRST, sse_event(SECOND)[:30], closed=False), "Hel"),
    "in a chunk of the second event": (chunked(FIRST, closed=False) + chunk(sse_event(SECOND))[:30], "Hel"),
    "after the second content": (chunked(FIRST, SECOND, closed=False), "Hello"),
    "after the usage": (chunked(FIRST, SECOND, event(usage={"prompt_tokens": 3}), closed=False), "Hello"),
}

UNSAID = chunked(FIRST, SECOND, event(None, "stop"), closed=False)
"""An answer that has said why it ended, and not that this was all."""

UNCLOSED = chunked(FIRST, SECOND, event(None, "stop"), event(usage={"prompt_tokens": 3}), DONE, closed=False)
"""An answer that is whole in a response that is not."""


@row(10)
@both_faces
@pytest.mark.parametrize("sent", BEFORE.values(), ids=BEFORE)
def test_a_stream_that_stalls_before_its_first_content_is_passed_by(wires, face, sent):
    wires.router["first_token_timeout"] = FIRST_TOKEN_LIMIT
    wires.litellm.play(RawBytes(sent, then=Hang()))
    reading = FACES[face](wires)
    moved_on(reading, "timeout")
    ended_at(FIRST_TOKEN_LIMIT, reading)
    hung_up_on(wires.litellm)


@row(10)
@both_faces
@pytest.mark.parametrize(("sent", "text"), AFTER.values(), ids=AFTER)
def test_a_stream_that_stalls_after_its_first_content_is_interrupted(wires, face, sent, text):
    wires.router["idle_timeout"] = IDLE_LIMIT
    wires.litellm.play(RawBytes(sent, then=Hang()))
    reading = FACES[face](wires)
    interrupted(reading, text)
    ended_at(IDLE_LIMIT, reading)
    hung_up_on(wires.litellm)


@both_faces
def test_a_stream_that_has_said_why_it_ended_and_then_stalls_has_answered(wires, face):
    wires.router["idle_timeout"] = IDLE_LIMIT
    wires.litellm.play(RawBytes(UNSAID, then=Hang()))
    reading = FACES[face](wires)
    assert (reading.text, reading.completion.finish_reason) == ("Hello", "stop")
    assert reading.tried == [("litellm_backend", "answered")]
    hung_up_on(wires.litellm)


@both_faces
@pytest.mark.parametrize("then", [Hang(), False, True], ids=["silence", "FIN", "RST"])
def test_a_stream_ends_with_done_whatever_the_connection_does(wires, face, then):
    wires.litellm.play(RawBytes(UNCLOSED, then=then if isinstance(then, Hang) else Cut(wires=wires, reset=then)))
    reading = FACES[face](wires)
    assert (reading.text, reading.completion.finish_reason) == ("Hello", "stop")
    assert reading.completion.usage.input_tokens == 3
    assert reading.tried == [("litellm_backend", "answered")]
    assert reading.decision.attempts[0].duration < LIMITS["idle_timeout"] / 2
    if isinstance(then, Hang):
        hung_up_on(wires.litellm)


@both_faces
def test_an_empty_answer_that_is_long_enough_ends_with_done_too(wires, face):
    wires.litellm.play(RawBytes(chunked(event(), event(None, "length"), DONE, closed=False), then=Hang()))
    reading = FACES[face](wires)
    assert (reading.text, reading.tried) == ("", [("litellm_backend", "answered")])


@row(6, 11, 12)
@both_faces
@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize("sent", BEFORE.values(), ids=BEFORE)
def test_a_stream_that_is_cut_before_its_first_content_is_passed_by(wires, face, sent, reset):
    wires.litellm.play(RawBytes(sent, then=Drop(reset=reset)))
    moved_on(FACES[face](wires), "connect", "bad_response")


@row(11, 12)
@both_faces
@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize(("sent", "text"), [*AFTER.values(), (UNSAID, "Hello")], ids=[*AFTER, "unsaid"])
def test_a_stream_that_is_cut_after_its_first_content_is_interrupted(wires, face, sent, text, reset):
    wires.litellm.play(RawBytes(sent, then=Cut(wires=wires, reset=reset)))
    interrupted(FACES[face](wires), text)


def sized(body: bytes, then: Drop, more: int = 10) -> RawBytes:
    """A response that ends so many bytes before it said that it would."""
    declared = STREAM | {"content-length": str(len(body) + more)}
    return RawBytes(head(200, declared) + body, then=then)


def until_closed(body: bytes, then: Drop) -> RawBytes:
    """A response that ends where its connection does."""
    return RawBytes(head(200, STREAM | {"connection": "close"}) + body, then=then)


def body_of(*events: object) -> bytes:
    return b"".join(sse_event(one) for one in events)


WHOLE = body_of(FIRST, SECOND, event(None, "stop"), DONE)


@row(12, 13)
@pytest.mark.parametrize("frame", [sized, until_closed], ids=["content-length", "no length"])
@both_faces
def test_a_body_that_is_cut_short_before_its_first_content_is_passed_by(wires, face, frame):
    wires.litellm.play(frame(body_of(event()), Drop()))
    moved_on(FACES[face](wires), "bad_response")


@row(12, 13)
@pytest.mark.parametrize("frame", [sized, until_closed], ids=["content-length", "no length"])
@both_faces
def test_a_body_that_is_cut_short_after_its_first_content_is_interrupted(wires, face, frame):
    wires.litellm.play(frame(body_of(event(), FIRST, SECOND), Cut(wires=wires)))
    interrupted(FACES[face](wires), "Hello")


@row(12)
@both_faces
def test_a_content_length_that_is_longer_than_an_answer_without_done_is_a_cut_one(wires, face):
    wires.litellm.play(sized(body_of(FIRST, SECOND, event(None, "stop")), Cut(wires=wires), more=1))
    interrupted(FACES[face](wires), "Hello")


@both_faces
def test_a_close_delimited_answer_that_is_whole_is_one(wires, face):
    wires.litellm.play(until_closed(WHOLE, Cut(wires=wires)))
    reading = FACES[face](wires)
    assert (reading.text, reading.tried) == ("Hello", [("litellm_backend", "answered")])


# Row 14: no finish reason


@row(14)
@both_faces
@pytest.mark.parametrize("done", [[], [DONE]], ids=["without [DONE]", "with [DONE]"])
def test_a_stream_without_a_finish_reason_is_never_a_success(wires, face, done):
    wires.litellm.play(RawBytes(chunked(FIRST, SECOND, event(usage={"prompt_tokens": 3}), *done)))
    reading = FACES[face](wires)
    interrupted(reading, "Hello")
    assert "without a finish reason" in str(reading.error)
    assert reading.partial.usage.input_tokens == 3


@row(14)
@both_faces
@pytest.mark.parametrize("done", [[], [DONE]], ids=["without [DONE]", "with [DONE]"])
def test_a_stream_without_content_and_finish_reason_is_passed_by(wires, face, done):
    wires.litellm.play(RawBytes(chunked(event(), *done)))
    moved_on(FACES[face](wires), "bad_response")


# Rows 20 and 21: an error in the stream

ERRORS = {
    "with its reason": error_event(502),
    "with choices and no reason": event() | {"error": {"code": 502, "message": "Provider returned error"}},
    "without choices": {"error": {"code": "502", "message": "Provider returned error"}},
    "with empty choices": {"choices": [], "error": {"code": 502, "message": "Provider returned error"}},
    "with a word for a code": {"error": {"code": "server_error", "message": "Provider returned error"}},
    "that is only a reason": event(None, "error"),
}


@row(20, 21)
@both_faces
@pytest.mark.parametrize("beginning", [[], [event()]], ids=["at once", "after a valid and empty event"])
@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_an_error_event_before_the_first_content_is_passed_by(wires, face, error, beginning):
    wires.litellm.play(RawBytes(chunked(*beginning, error, DONE)))
    moved_on(FACES[face](wires), "server")


@row(20)
@both_faces
@pytest.mark.parametrize("finish", [[], [event(None, "stop")]], ids=["in the middle", "after the finish reason"])
@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_an_error_event_after_the_first_content_interrupts(wires, face, error, finish):
    wires.litellm.play(RawBytes(chunked(FIRST, SECOND, *finish, error, DONE)))
    interrupted(FACES[face](wires), "Hello")


@row(19, 21)
@both_faces
def test_an_error_event_is_what_its_code_says(wires, face):
    wires.litellm.play(RawBytes(chunked(event(), error_event(429, "Rate limit exceeded"))))
    moved_on(FACES[face](wires), "rate_limit")


# Row 22: nothing said


@row(22)
@both_faces
@pytest.mark.parametrize("empty", [[], [event()]], ids=["at once", "after a role"])
def test_an_empty_answer_with_stop_is_passed_by(wires, face, empty):
    wires.litellm.play(RawBytes(chunked(*empty, event(None, "stop"), DONE)))
    moved_on(FACES[face](wires), "bad_response")


@row(22)
@both_faces
def test_an_empty_answer_with_length_is_an_answer(wires, face):
    wires.litellm.play(RawBytes(chunked(event(), event(None, "length", usage={"completion_tokens": 0}), DONE)))
    reading = FACES[face](wires)
    assert (reading.text, reading.completion.finish_reason) == ("", "length")
    assert reading.completion.usage.output_tokens == 0
    assert reading.tried == [("litellm_backend", "answered")]


@row(22)
@both_faces
def test_an_answer_of_which_a_content_filter_left_nothing_is_raised(wires, face):
    wires.litellm.play(RawBytes(chunked(event(), event(None, "content_filter"), DONE)))
    reading = FACES[face](wires)
    assert isinstance(reading.error, ContentPolicy)
    assert reading.chunks == []
    failure = reading.decision.attempts[0].failure
    assert (failure.kind, failure.blames, failure.breaker) == ("content_policy", "request", "neutral")


# Row 23: signs of life, and none of an answer


@row(23)
@both_faces
@pytest.mark.parametrize(
    "sign", [b": ping\n\n", b":\n", b"\n", sse_event(event())], ids=["pings", "empty comments", "empty lines", "roles"]
)
def test_signs_of_life_do_not_satisfy_the_first_token_limit(wires, face, sign):
    wires.router["first_token_timeout"] = FIRST_TOKEN_LIMIT
    wires.litellm.play(SSE([sign] * 1000, delay=0.01))
    reading = FACES[face](wires)
    moved_on(reading, "timeout")
    ended_at(FIRST_TOKEN_LIMIT, reading)


@row(23)
@both_faces
def test_signs_of_life_do_not_satisfy_the_idle_limit(wires, face):
    wires.router["idle_timeout"] = IDLE_LIMIT
    wires.litellm.play(SSE([FIRST, *[b": ping\n\n", sse_event(event())] * 500], delay=0.01))
    interrupted(FACES[face](wires), "Hel")


# Row 24: however it is framed

SAID = ["Kære Mette,\n\n", "flytterengøring på 80 m² — ", "1.200 kr. 🧹", " data: [DONE]", "\r\n", "\ufeff!"]


def framed(newline: bytes, *, split_data: bool = False) -> bytes:
    """An answer with comments, other fields, and the given line ends."""
    lines: list[bytes] = [b"\xef\xbb\xbf: a byte order mark before a comment", b"", b"retry: 10", b"id: 7", b""]
    for place, one in enumerate([*map(event, SAID), event(None, "stop")]):
        data = sse_event(one).removeprefix(b"data: ").strip()
        colon = b"data:" if place % 2 else b"data: "
        if split_data:
            middle = data.index(b'"choices"')
            lines += [colon + data[:middle], b": in between", colon + data[middle:]]
        else:
            lines += [colon + data]
        lines += [b"event: message", b"", b": PROCESSING", b""]
    return newline.join([*lines, b"data: [DONE]", b"", b""])


@row(24)
@both_faces
@pytest.mark.parametrize("split_data", [False, True], ids=["one data line", "two data lines"])
@pytest.mark.parametrize("newline", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("size", [1, 7, 1 << 20], ids=["byte by byte", "in sevens", "at once"])
def test_a_stream_is_byte_exact_however_it_is_framed(wires, face, newline, split_data, size):
    body = framed(newline, split_data=split_data)
    pieces = [chunk(body[place : place + size]) for place in range(0, len(body), size)]
    wires.litellm.play(RawBytes([CHUNKED, *pieces, chunk(b"")]))
    reading = FACES[face](wires)
    assert reading.text == "".join(SAID)
    assert [one.text for one in reading.chunks if one.text] == SAID
    assert reading.tried == [("litellm_backend", "answered")]


# Row 25: an event without end

HUGE = b'data: {"choices": [{"delta": {"content": "' + b"x" * (25 * 1024 * 1024)


@row(25)
@both_faces
def test_an_event_of_25_megabytes_before_the_first_content_is_passed_by(wires, face):
    # All of it can be on its way already when the client leaves; so the server goes on until it sees that.
    wires.litellm.play(RawBytes(chunked(event(), HUGE, closed=False), then=Hang()))
    reading = FACES[face](wires)
    moved_on(reading, "bad_response")
    assert "max_event" in reading.decision.attempts[0].failure.message
    hung_up_on(wires.litellm)


@row(25)
@both_faces
@pytest.mark.parametrize("huge", [HUGE, HUGE[:100] + b'"}}]}\n' * (4 * 1024 * 1024)], ids=["one line", "many lines"])
def test_an_event_of_25_megabytes_after_the_first_content_interrupts(wires, face, huge):
    wires.litellm.play(RawBytes(chunked(FIRST, huge)))
    reading = FACES[face](wires)
    interrupted(reading, "Hel")


# Something else than a stream


@both_faces
def test_an_answer_that_came_whole_is_one_too(wires, face):
    wires.litellm.play(openrouter_answer(SLUG, TEXT))
    reading = FACES[face](wires)
    assert (reading.text, reading.tried) == (TEXT, [("litellm_backend", "answered")])
    assert reading.completion.usage.input_tokens == 42


@both_faces
@pytest.mark.parametrize(
    "reply",
    [Reply(200, body=b"<html>", headers={"content-type": "text/html"}), Reply(200, body=b""), Reply(204, body=b"")],
    ids=["a page", "nothing", "204"],
)
def test_something_else_than_an_answer_is_passed_by(wires, face, reply):
    wires.failures_are_whole = True
    wires.litellm.play(reply)
    moved_on(FACES[face](wires), "bad_response", "server")


@both_faces
def test_when_both_break_before_the_first_content_the_error_has_both(wires, face):
    wires.plugins["retries"] = {"pause": 0.01}
    wires.litellm.play(RawBytes(chunked(event())))
    wires.openrouter.play(RawBytes(chunked(error_event(503))))
    reading = FACES[face](wires)
    assert isinstance(reading.error, AllTargetsFailed)
    both = [("litellm_backend", "bad_response"), ("openrouter_direct", "server")]
    assert reading.tried == [*both, *both]  # and each has a second chance
    assert reading.chunks == []


# Row 36: cancelled at every await


async def read_it(router):
    async with router.astream("hello") as stream:
        async for _ in stream:
            pass


STALLS = {
    "before the headers": b"",
    "after the headers": CHUNKED,
    "after the role": chunked(event(), closed=False),
    "in an event": chunked(FIRST, sse_event(SECOND)[:30], closed=False),
}


@row(36)
@pytest.mark.parametrize("sent", STALLS.values(), ids=STALLS)
def test_cancelling_a_reader_that_waits_hangs_up(wires, sent):
    wires.litellm.play(RawBytes(sent, then=Hang()))

    async def main():
        async with wires.new_router() as router:
            reader = asyncio.create_task(read_it(router))
            await until(lambda: len(wires.litellm.requests) == 1)
            await asyncio.sleep(0.02)
            began = time.monotonic()
            reader.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reader
            assert time.monotonic() - began < WITHIN
            await nothing_left()
            await until(lambda: wires.litellm.connected == 0)
            assert time.monotonic() - began < WITHIN

    asyncio.run(main())
    assert wires.last().outcome == "cancelled"
    assert wires.openrouter.requests == []


@row(36)
def test_cancelling_a_reader_at_any_await_leaves_nothing(wires):
    wires.litellm.play(litellm_stream(ALIAS, PIECES, delay=0.001))
    ends: list[str] = []

    async def main():
        async with wires.new_router() as router:
            for moment in range(100):
                reader = asyncio.create_task(read_it(router))
                for _ in range(moment):
                    # At first every turn of the loop counts; then the server has to be waited for.
                    await asyncio.sleep(0 if moment < 40 else 0.0005)
                reader.cancel()
                try:
                    await reader
                    ends.append("answered")
                except asyncio.CancelledError:
                    ends.append("cancelled")
                await nothing_left()
                if ends[-3:] == ["answered"] * 3:
                    break

    asyncio.run(main())
    assert set(ends) == {"cancelled", "answered"}
    last_events = [own[-1] for own in stories(wires.sink.events).values()]
    outcomes = [one.outcome for one in last_events if isinstance(one, RequestFinished)]
    for outcome, ended in zip(reversed(outcomes), reversed(ends), strict=False):
        # The answer can be over upstream when its reader is cancelled.
        assert outcome == ended or (outcome, ended) == ("answered", "cancelled")
    assert wires.litellm.wait_for(lambda: wires.litellm.connected == 0, WITHIN)


# Row 37: abandoned


def words(server):
    """A stream that goes on as long as anybody listens."""
    server.play(SSE([event("ord ")] * 100_000, delay=0.005))


@row(37)
@pytest.mark.parametrize("backend", ["litellm", "openrouter"])
@pytest.mark.parametrize("leave", ["close", "drop"])
def test_upstream_sees_within_a_second_that_a_stream_was_left(wires, leave, backend):
    if backend == "openrouter":
        wires.litellm.play(Reply(503))
    server = getattr(wires, backend)
    words(server)
    with wires.new_router() as router:
        stream = router.stream("hello")
        next(stream)
        if leave == "close":
            stream.close()
        del stream
        gc.collect()
        assert server.wait_for(lambda: len(server.abandoned) == 1 and server.connected == 0, WITHIN)
    assert wires.last().outcome == "abandoned"


@row(37)
@pytest.mark.parametrize("backend", ["litellm", "openrouter"])
@pytest.mark.parametrize("leave", ["aclose", "break", "cancel"])
def test_upstream_sees_within_a_second_that_a_stream_was_left_in_a_loop(wires, leave, backend):
    if backend == "openrouter":
        wires.litellm.play(Reply(503))
    server = getattr(wires, backend)
    words(server)

    async def leave_it(router):
        stream = router.astream("hello")
        async for _ in stream:
            if leave == "break":
                break
            if leave == "aclose":
                await stream.aclose()
                return

    async def main():
        async with wires.new_router() as router:
            reader = asyncio.create_task(leave_it(router))
            if leave == "cancel":
                await until(lambda: len(server.requests) == 1)
                await asyncio.sleep(0.02)
                reader.cancel()
            await asyncio.wait((reader,))
            began = time.monotonic()
            await until(lambda: len(server.abandoned) == 1 and server.connected == 0)
            assert time.monotonic() - began < WITHIN
            await nothing_left()

    asyncio.run(main())
    assert wires.last().outcome == ("cancelled" if leave == "cancel" else "abandoned")


def test_a_slow_reader_holds_the_server_back(wires):
    # What the server could send is far more than the sockets' buffers and the read-ahead hold.
    sent = 0
    big = "x" * 50_000

    def counted():
        nonlocal sent
        for _ in range(1000):
            sent += 1
            yield event(big)

    class Counted(list[object]):
        def __iter__(self):
            return counted()

    wires.litellm.play(SSE(Counted()))
    with wires.new_router() as router, router.stream("hello") as stream:
        next(stream)
        before = -1
        while before != sent or sent <= READ_AHEAD:
            before = sent
            time.sleep(0.1)
        assert READ_AHEAD < sent < 700
        next(stream)


def test_threads_read_streams_side_by_side(wires):
    wires.litellm.play(litellm_stream(ALIAS, PIECES, delay=0.002))
    texts: list[str] = []
    with wires.new_router() as router:
        threads = [
            threading.Thread(target=lambda: texts.append(router.stream("hello").collect().text)) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert texts == [TEXT] * 8
