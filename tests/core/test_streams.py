"""A streamed answer is the whole answer of one target, or its beginning and one error."""

import pickle
from collections.abc import AsyncIterator
from itertools import repeat
from typing import Any

import pytest
from attrs import define, evolve

from pointsman.chat import Chunk, Completion, Message, ToolCall, Usage
from pointsman.errors import (
    AllTargetsFailed,
    AttemptFailed,
    BadRequest,
    ContentPolicy,
    PluginError,
    StreamInterrupted,
    UsageError,
)
from pointsman.events import AttemptFinished, RequestFinished
from pointsman.hookspecs import BackendInvocation, Streaming, hookimpl
from tests.core.support import Gatekeeper, answer, failure
from tests.faults.table import row
from tests.support.streaming import (
    ROLE,
    USAGE,
    Telling,
    World,
    call,
    end,
    in_both_faces,
    one_backend,
    said,
    two_backends,
    whole,
)

# The whole answer


@in_both_faces
def test_the_reader_gets_what_was_sent_piece_by_piece(read):
    reading = read(one_backend(*whole("Kære ", "Mette ", "Hansen")))
    assert [chunk.text for chunk in reading.chunks if chunk.text] == ["Kære ", "Mette ", "Hansen"]
    assert [chunk.finish_reason for chunk in reading.chunks if chunk.finish_reason] == ["stop"]
    assert reading.chunks[-1].usage == USAGE
    assert reading.tried == [("proxy", "answered")]


@in_both_faces
def test_the_completion_has_everything_that_the_chunks_had(read):
    completion = read(one_backend(*whole("Kære ", "Mette"))).completion
    assert (completion.text, completion.finish_reason, completion.usage) == ("Kære Mette", "stop", USAGE)
    assert (completion.id, completion.served_model, completion.provider) == ("gen-1", "vendor/small", "Nordlys")
    assert completion.message == {"role": "assistant", "content": "Kære Mette"}
    assert str(completion.decision.served) == "proxy/small"


@in_both_faces
def test_the_record_has_the_time_to_the_first_content(read):
    world = one_backend(*whole("fine"))
    reading = read(world)
    (attempt,) = reading.decision.attempts
    assert 0 < attempt.time_to_first_token <= attempt.duration
    (finished,) = [event for event in world.sink.events if isinstance(event, AttemptFinished)]
    assert finished.time_to_first_token == attempt.time_to_first_token
    assert finished.usage == attempt.usage == USAGE


@in_both_faces
def test_chunks_that_say_nothing_are_not_shown(read):
    reading = read(one_backend(ROLE, Chunk(), *said("a"), ROLE, Chunk(), *said("b"), end()))
    assert [(chunk.text, chunk.finish_reason) for chunk in reading.chunks] == [("a", None), ("b", None), ("", "stop")]


@in_both_faces
def test_what_came_before_the_first_content_and_says_something_is_shown_with_it(read):
    early = Chunk(usage=Usage(input_tokens=3))
    reading = read(one_backend(ROLE, early, *said("a"), end()))
    assert [chunk.usage for chunk in reading.chunks] == [early.usage, None, None]
    assert reading.completion.usage == early.usage


@in_both_faces
def test_an_answer_can_be_nothing_but_its_end(read):
    reading = read(one_backend(ROLE, end("length"), Chunk(usage=USAGE)))
    assert [chunk.finish_reason for chunk in reading.chunks] == ["length", None]
    assert (reading.completion.text, reading.completion.finish_reason) == ("", "length")


@in_both_faces
def test_the_first_finish_reason_wins(read):
    reading = read(one_backend(*said("a"), end("length"), end("stop"), Chunk(usage=USAGE), end("tool_calls")))
    assert reading.completion.finish_reason == "length"


@in_both_faces
def test_the_last_usage_wins(read):
    growing = [Chunk(text=str(n), usage=Usage(output_tokens=n)) for n in (1, 2, 3)]
    assert read(one_backend(*growing, end())).completion.usage == Usage(output_tokens=3)


@in_both_faces
@pytest.mark.parametrize(
    "content",
    [
        Chunk(text=" "),
        Chunk(reasoning="hm"),
        Chunk(refusal="no"),
        call(0, name="search"),
        Chunk(images=({"type": "image_url", "image_url": {"url": "data:,"}},)),
    ],
    ids=["text", "reasoning", "refusal", "tool call", "image"],
)
def test_whatever_is_shown_is_a_beginning(read, content):
    reading = read(two_backends([[ROLE, content, failure()]]))
    assert isinstance(reading.error, StreamInterrupted)
    assert reading.chunks == [content]
    assert reading.world.direct.calls == 0


# Tool calls


@in_both_faces
def test_tool_calls_are_put_together_from_their_pieces_in_the_order_of_their_numbers(read):
    pieces = [
        call(1, id="call_2", name="book"),
        call(0, id="call_1", name="search"),
        call(0, '{"day": '),
        call(1, "{}"),
        call(0, '"friday"}'),
    ]
    reading = read(one_backend(ROLE, *pieces, end("tool_calls")))
    assert reading.completion.tool_calls == (
        ToolCall(id="call_1", name="search", arguments='{"day": "friday"}'),
        ToolCall(id="call_2", name="book", arguments="{}"),
    )
    assert [chunk.tool_calls for chunk in reading.chunks[:-1]] == [piece.tool_calls for piece in pieces]
    assert all(one.is_finished for one in reading.completion.tool_calls)


@in_both_faces
def test_the_message_of_a_tool_call_can_be_sent_back(read):
    reading = read(
        one_backend(*said("Let me see."), call(0, '{"a": 1}', id="call_1", name="search"), end("tool_calls"))
    )
    function = {"name": "search", "arguments": '{"a": 1}'}
    assert reading.completion.message == {
        "role": "assistant",
        "content": "Let me see.",
        "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
    }


@in_both_faces
@pytest.mark.parametrize("reason", ["tool_calls", "length"])
def test_a_tool_call_whose_arguments_were_cut_is_not_finished(read, reason):
    reading = read(one_backend(call(0, '{"day": "fri', id="call_1", name="search"), end(reason)))
    (cut,) = reading.completion.tool_calls
    assert cut.arguments == '{"day": "fri'
    assert not cut.is_finished


@in_both_faces
def test_a_tool_call_that_the_stream_breaks_off_in_is_in_the_partial_answer_and_not_finished(read):
    reading = read(one_backend(call(0, '{"day": "fri', id="call_1", name="search"), failure("bad_response")))
    (cut,) = reading.partial.tool_calls
    assert (cut.name, cut.is_finished) == ("search", False)


@in_both_faces
def test_pieces_of_reasoning_become_blocks_that_can_be_sent_back(read):
    def piece(**fields):
        return Chunk(reasoning=fields.get("text", ""), reasoning_details=(fields,))

    sealed = {"type": "reasoning.encrypted", "data": "xyz", "index": 0}
    reading = read(
        one_backend(
            piece(type="reasoning.text", index=0, text="Two ", signature=""),
            piece(type="reasoning.text", index=0, text="and two", format=None),
            piece(type="reasoning.text", index=0, signature="c2ln", format="v1"),
            piece(type="reasoning.text", index=1, text="Four"),
            piece(**sealed),
            piece(**sealed),
            *said("4"),
            end(),
        )
    )
    assert reading.completion.message["reasoning_details"] == [
        {"type": "reasoning.text", "index": 0, "text": "Two and two", "signature": "c2ln", "format": "v1"},
        {"type": "reasoning.text", "index": 1, "text": "Four"},
        sealed,
        sealed,
    ]
    assert reading.completion.reasoning == "Two and twoFour"
    signature = [block for chunk in reading.chunks for block in chunk.reasoning_details if block.get("signature")]
    assert len(signature) == 1


# Whole answers and collected ones


def as_whole(completion: Completion) -> Completion:
    return evolve(completion, decision=None)


@define(eq=False)
class Both(Telling):
    """Answers whole with what its stream adds up to."""

    whole_answer: Any = None

    @hookimpl
    async def complete(self, target, request, ctx):
        return self.whole_answer


MESSAGE: Message = {"role": "assistant", "content": "Kære Mette"}
CALLED: Message = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "search", "arguments": '{"a": 1}'}}],
}
IDS: dict[str, Any] = {"id": "gen-1", "served_model": "vendor/small", "provider": "Nordlys", "usage": USAGE}


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (
            whole("Kære ", "Mette"),
            Completion(text="Kære Mette", finish_reason="stop", message=MESSAGE, **IDS),
        ),
        (
            [call(0, id="call_1", name="search"), call(0, '{"a": 1}'), end("tool_calls"), Chunk(**IDS)],
            Completion(
                text="",
                finish_reason="tool_calls",
                tool_calls=(ToolCall(id="call_1", name="search", arguments='{"a": 1}'),),
                message=CALLED,
                **IDS,
            ),
        ),
    ],
    ids=["text", "tool call"],
)
def test_a_collected_stream_is_the_whole_answer(script, expected):
    world = World({"proxy": Both([script, script], whole_answer=expected)})
    with world.new_router() as router:
        streamed = router.stream("hello").collect()
        complete = router.complete("hello")
    assert as_whole(streamed) == as_whole(complete) == expected
    assert streamed.decision
    assert complete.decision
    assert streamed.decision.served == complete.decision.served


@in_both_faces
def test_collecting_raises_what_reading_does(read):
    world = one_backend(*said("Hel"), failure())
    with world.new_router() as router, pytest.raises(StreamInterrupted) as caught:
        router.stream("hello").collect()
    assert caught.value.partial
    assert caught.value.partial.text == "Hel"


# Before the first content


@in_both_faces
@pytest.mark.parametrize(
    "beginning",
    [
        [],
        [ROLE],
        [Chunk(), ROLE, Chunk(id="gen-1", served_model="vendor/small")],
        [Chunk(usage=USAGE)],
        [end("stop")],
        [Chunk(reasoning_details=({"type": "reasoning.encrypted", "data": "xyz"},))],
    ],
    ids=["nothing", "role", "empty", "usage", "finish reason", "sealed reasoning"],
)
def test_a_failure_before_the_first_content_moves_on_unseen(read, beginning):
    reading = read(two_backends([[*beginning, failure()]], [whole("from ", "direct")]))
    assert reading.error is None
    assert reading.text == reading.completion.text == "from direct"
    assert reading.completion.id == "gen-1"
    assert reading.tried == [("proxy", "server"), ("direct", "answered")]


@in_both_faces
@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ([], "bad_response"),
        ([ROLE, Chunk(usage=USAGE)], "bad_response"),
        ([ROLE, end("stop")], "bad_response"),
        ([ROLE, end("tool_calls"), Chunk(usage=USAGE)], "bad_response"),
    ],
    ids=["nothing", "no finish reason", "stop", "a tool call that is none"],
)
def test_an_empty_answer_moves_on_unseen(read, script, kind):
    reading = read(two_backends([script], [whole("fine")]))
    assert reading.text == "fine"
    assert reading.tried == [("proxy", kind), ("direct", "answered")]


@in_both_faces
def test_an_answer_of_which_a_content_filter_left_nothing_is_refused(read):
    reading = read(two_backends([[ROLE, end("content_filter")]]))
    assert isinstance(reading.error, ContentPolicy)
    assert reading.chunks == []
    assert reading.tried == [("proxy", "content_policy")]


@in_both_faces
def test_a_bad_request_is_not_tried_elsewhere(read):
    reading = read(two_backends([[failure("bad_request")]]))
    assert isinstance(reading.error, BadRequest)
    assert reading.world.direct.calls == 0


@in_both_faces
def test_when_every_target_fails_before_the_first_content_the_error_has_all_attempts(read):
    reading = read(two_backends([[ROLE, failure("server")]], [[end(), failure("rate_limit", retry_after=7.0)]]))
    assert isinstance(reading.error, AllTargetsFailed)
    assert reading.chunks == []
    assert reading.tried == [("proxy", "server"), ("direct", "rate_limit")]
    assert reading.error.retry_after == 7.0


# After the first content


@in_both_faces
@pytest.mark.parametrize(
    ("rest", "kind_of_cause"),
    [
        ([failure("server")], "server"),
        ([failure("connect")], "connect"),
        ([], "without a finish reason"),
        ([Chunk(usage=USAGE)], "without a finish reason"),
        ([end("stop"), failure("bad_request")], "bad_request"),
    ],
    ids=["error", "connection lost", "no finish reason", "usage and no finish reason", "error after the finish reason"],
)
def test_a_stream_that_breaks_after_the_first_content_is_interrupted(read, rest, kind_of_cause):
    reading = read(two_backends([[*said("Hel", "lo"), *rest]]))
    error = reading.error
    assert reading.text == reading.partial.text == "Hello"
    assert reading.tried == [("proxy", "interrupted")]
    assert reading.world.direct.calls == 0
    assert isinstance(error.__cause__, AttemptFailed)
    assert error.__cause__.failure == reading.decision.attempts[0].failure
    assert kind_of_cause in str(error)
    assert reading.decision.outcome == "failed"


@in_both_faces
def test_an_interrupted_stream_is_the_models_fault_and_never_the_requests(read):
    gate = Gatekeeper()
    world = two_backends([[*said("a"), failure("bad_request")]])
    world.plugins["gate"] = gate
    (attempt,) = read(world).decision.attempts
    assert (attempt.failure.blames, attempt.failure.breaker) == ("model", "counts")
    gate.check()
    assert gate.outcomes == ["failed"]


@in_both_faces
def test_an_interrupted_stream_tells_the_usage_and_ids_that_had_come(read):
    ids = {"id": "gen-1", "call_id": "call-1", "served_model": "vendor/small", "provider": "Nordlys"}
    world = two_backends([[failure("connect")]], [[*said("Hel", **ids), Chunk(usage=USAGE), failure()]])
    reading = read(world)
    assert reading.partial.usage == USAGE
    assert reading.partial.message == {"role": "assistant", "content": "Hel"}
    assert reading.tried == [("proxy", "connect"), ("direct", "interrupted")]
    interrupted = reading.decision.attempts[-1]
    assert interrupted.usage == USAGE
    assert {name: getattr(interrupted, name) for name in ids} == ids
    (*_, finished) = [event for event in world.sink.events if isinstance(event, AttemptFinished)]
    assert (finished.usage, finished.provider) == (USAGE, "Nordlys")


@in_both_faces
def test_an_interrupted_stream_pickles_with_its_partial_answer(read):
    error = read(one_backend(*said("Hel"), failure())).error
    again = pickle.loads(pickle.dumps(error))
    assert (again.partial.text, again.decision, str(again)) == ("Hel", error.decision, str(error))


@in_both_faces
def test_reasoning_without_an_answer_is_interrupted_and_not_an_answer(read):
    reading = read(two_backends([[Chunk(reasoning="hm"), end("stop")]]))
    assert isinstance(reading.error, StreamInterrupted)
    assert reading.partial.reasoning == "hm"


@in_both_faces
def test_reasoning_that_ran_into_the_limit_is_an_answer(read):
    reading = read(two_backends([[Chunk(reasoning="hm"), end("length")]]))
    assert (reading.completion.reasoning, reading.completion.finish_reason) == ("hm", "length")


@in_both_faces
def test_a_stream_that_breaks_is_not_blamed_on_the_targets_before_it(read):
    reading = read(two_backends([[ROLE, failure("server")]], [[*said("a"), failure("server")]], max_attempts=4))
    assert isinstance(reading.error, StreamInterrupted)
    assert reading.tried == [("proxy", "server"), ("direct", "interrupted")]
    assert reading.error.attempts == reading.decision.attempts


# Backend plugins that are at fault themselves


@define(eq=False)
class WithoutStream(BackendInvocation):
    @hookimpl
    async def complete(self, target, request, ctx):
        return answer()


@define(eq=False)
class Wrong(BackendInvocation, Streaming):
    """Returns something from `stream`."""

    value: object

    @hookimpl
    async def complete(self, target, request, ctx):
        return answer()

    @hookimpl
    def stream(self, target, request, ctx) -> AsyncIterator[Chunk]:
        return self.value  # pyright: ignore[reportReturnType] - that is what is wrong


class Iterates:
    """An asynchronous iterator that is no generator."""

    def __init__(self, *chunks: Chunk) -> None:
        self._chunks = iter(chunks)

    def __aiter__(self):
        return self

    async def __anext__(self):
        try:
            return next(self._chunks)
        except StopIteration:
            raise StopAsyncIteration from None


@in_both_faces
def test_a_backend_that_does_not_stream_is_passed_over(read):
    world = World({"proxy": WithoutStream(), "direct": Telling([whole("fine")])}, router={"max_attempts": 1})
    reading = read(world)
    assert reading.text == "fine"
    assert reading.tried == [("direct", "answered")]
    (skipped,) = reading.decision.skipped
    assert (str(skipped.target), skipped.why) == ("proxy/small", "this backend does not stream")
    with world.new_router() as router:
        whole_answer = router.complete("hello")
    assert whole_answer.decision
    assert str(whole_answer.decision.served) == "proxy/small"


@in_both_faces
def test_where_no_backend_streams_the_error_says_so(read):
    reading = read(World({"proxy": WithoutStream(), "direct": WithoutStream()}))
    assert isinstance(reading.error, AllTargetsFailed)
    assert "this backend does not stream (proxy), this backend does not stream (direct)" in str(reading.error)


@in_both_faces
@pytest.mark.parametrize("beginning", [[], [ROLE]], ids=["at once", "after its role"])
@pytest.mark.parametrize(
    "fault",
    [ValueError("Mette Hansen"), SystemExit("Mette Hansen"), GeneratorExit(), BaseExceptionGroup("", [SystemExit()])],
    ids=lambda fault: type(fault).__name__,
)
def test_a_backend_plugin_that_raises_is_passed_by(read, beginning, fault):
    reading = read(two_backends([[*beginning, fault]], [whole("fine")]))
    assert reading.text == "fine"
    assert reading.tried == [("proxy", "plugin"), ("direct", "answered")]
    failed = reading.decision.attempts[0].failure
    assert "plugin proxy: stream raised" in failed.message
    assert "Mette" not in repr(reading.decision)
    assert failed.breaker == "neutral"


@in_both_faces
def test_a_backend_plugin_that_raises_after_the_first_content_interrupts(read):
    reading = read(two_backends([[*said("Hel"), ValueError("Mette Hansen")]]))
    assert isinstance(reading.error, StreamInterrupted)
    assert reading.partial.text == "Hel"
    assert "plugin proxy: stream raised ValueError" in str(reading.error)
    assert "Mette" not in str(reading.error)


@row(41)
@in_both_faces
@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (None, "returned NoneType, not an asynchronous generator"),
        ([Chunk(text="a")], "returned list, not an asynchronous generator"),
        (answer(), "returned Completion, not an asynchronous generator"),
    ],
    ids=["None", "list", "completion"],
)
def test_a_stream_hook_that_returns_something_else_is_passed_by(read, value, complaint):
    reading = read(World({"proxy": Wrong(value), "direct": Telling([whole("fine")])}))
    assert reading.text == "fine"
    assert complaint in reading.decision.attempts[0].failure.message


@row(41)
@in_both_faces
@pytest.mark.parametrize("thing", ["text", None, {"choices": []}, answer()], ids=lambda thing: type(thing).__name__)
def test_a_stream_hook_that_yields_something_else_is_passed_by(read, thing):
    reading = read(two_backends([[thing]], [whole("fine")]))
    assert reading.text == "fine"
    complaint = f"plugin proxy: stream yielded {type(thing).__name__}, not a Chunk"
    assert reading.decision.attempts[0].failure.message == complaint


@in_both_faces
def test_a_stream_hook_that_yields_something_else_after_the_first_content_interrupts(read):
    reading = read(two_backends([[*said("Hel"), "lo"]]))
    assert isinstance(reading.error, StreamInterrupted)
    assert reading.text == "Hel"


@in_both_faces
def test_a_stream_need_not_be_a_generator(read):
    reading = read(World({"proxy": Wrong(Iterates(*whole("fine")))}))
    assert reading.text == "fine"


@row(41)
@in_both_faces
def test_where_only_plugins_failed_the_error_names_the_last_one(read):
    reading = read(World({"proxy": Telling([[ValueError()]])}))
    assert isinstance(reading.error, PluginError)
    assert (reading.error.plugin, reading.error.hook) == ("proxy", "stream")


# The stream itself


def test_the_record_says_who_answers_while_the_answer_is_read():
    world = two_backends([[failure("connect")]], [repeat(*said("a"))])
    with world.new_router() as router, router.stream("hello") as stream:
        next(stream)
        begun = stream.decision
        assert begun
        assert (str(begun.served), begun.outcome) == ("direct/small", None)
        assert [str(attempt.target) for attempt in begun.attempts] == ["proxy/small"]
        stream.close()
        ended = stream.decision
        assert ended
        assert (ended.served, ended.outcome, len(ended.attempts)) == (None, "abandoned", 2)


def test_a_stream_that_nobody_reads_makes_no_request_and_no_record():
    world = one_backend(*whole("fine"))
    with world.new_router() as router:
        stream = router.stream("hello")
        assert stream.decision is None
        stream.close()
        router.astream("hello")
    assert (world.proxy.calls, world.sink.events) == (0, [])


def test_what_the_call_has_wrong_is_said_before_anything_is_read():
    with one_backend().new_router() as router:
        for open_stream in (router.stream, router.astream):
            with pytest.raises(BadRequest, match="messages"):
                open_stream([])


@in_both_faces
def test_both_faces_tell_the_same_story(read):
    script = [ROLE, failure("rate_limit")], [*said("Hel"), failure()]
    worlds = [two_backends([script[0]], [script[1]]) for _ in range(2)]
    read(worlds[0])
    with worlds[1].new_router() as router, pytest.raises(StreamInterrupted):
        router.stream("hello").collect()

    def plain(event):
        decision = evolve(event.decision, request_id="", seed=0, duration=0.0, attempts=()) if last(event) else None
        kept = {"outcome", "failure", "usage", "target", "number", "served_model", "provider", "path", "task"}
        return type(event), decision, {name: getattr(event, name) for name in kept if hasattr(event, name)}

    def last(event):
        return isinstance(event, RequestFinished)

    assert [plain(event) for event in worlds[0].sink.events] == [plain(event) for event in worlds[1].sink.events]


def test_iterating_after_the_end_gives_nothing_more():
    with one_backend(*whole("fine")).new_router() as router:
        stream = router.stream("hello")
        assert len(list(stream)) > 0
        assert list(stream) == []
        assert stream.collect() is stream.completion


def test_iterating_after_an_error_gives_the_error_again():
    with one_backend(*said("Hel"), failure()).new_router() as router:
        stream = router.stream("hello")
        for _ in range(3):
            with pytest.raises(StreamInterrupted):
                list(stream)
        with pytest.raises(StreamInterrupted):
            _ = stream.completion


def test_the_completion_is_there_at_the_end_and_not_before():
    with one_backend(*whole("a", "b")).new_router() as router:
        stream = router.stream("hello")
        for expected in ("unread", "begun"):
            with pytest.raises(UsageError, match="read it to its end"):
                _ = stream.completion
            if expected == "unread":
                next(stream)
        assert stream.collect().text == "ab"
