"""Streams of every shape, invented: what each of the three backends, and a router behind it, makes of them."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pointsman.chat import Completion, InnerAttempts, ToolCall, Usage
from pointsman.errors import AllTargetsFailed
from pointsman.testing.replies import sse_event
from tests.wire.streamed import EVENT_STREAM, Saying, Told, router_over, told_by

PLAIN, LITELLM, OPENROUTER = "openai_compatible", "litellm_backend", "openrouter_direct"

AUTH = ("auth", "backend", "opens")
AUTH_BEHIND = ("auth", "model", "opens")
BUSY = ("rate_limit", "model", "opens")
QUOTA = ("rate_limit", "quota", "opens")
SERVER = ("server", "model", "counts")
IN_FRONT = ("server", "backend", "counts")
UNKNOWN = ("not_found", "model", "opens")
REJECTED = ("bad_request", "request", "neutral")
REJECTED_BEHIND = ("bad_request", "model", "neutral")
TOO_LONG = ("context_length", "request", "neutral")
POLICY = ("content_policy", "request", "neutral")
UNUSABLE = ("bad_response", "model", "counts")
CUT = ("interrupted", "model", "counts")

DONE = b"data: [DONE]\n\n"
PROCESSING = b": OPENROUTER PROCESSING\n\n"
PING = b": ping\n\n"

Events = list[Any]


def told(backend: str, events: Events, *, done: bool = True, **request: Any) -> Told:
    """What a reader is told of these events, each a packet of its own."""
    return told_by(backend, Saying([*map(sse_event, events), *([DONE] if done else [])]), **request)


def came_whole(backend: str, body: object, status: int = 200, kind: str = "application/json", **headers: str) -> Told:
    """What a reader is told of an answer that is no stream."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return told_by(backend, Saying([content], status, {"content-type": kind} | headers))


def completed(backend: str, body: object) -> Completion:
    """The whole answer that is made of this."""
    transport = Saying([json.dumps(body).encode()], headers={"content-type": "application/json"})

    async def run() -> Completion:
        async with router_over(backend, transport) as router:
            return await router.acomplete("hello")

    return asyncio.run(run())


# The dialects


def openai(finish: str | None = None, /, *, usage: object = None, **delta: Any) -> dict[str, Any]:
    """OpenAI's: everything is there, null where it is not."""
    common = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m-1", "usage": usage}
    return common | {"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}


def litellm(finish: str | None = None, /, **delta: Any) -> dict[str, Any]:
    """The proxy's: what is null is left out."""
    choice: dict[str, Any] = {"index": 0, "delta": delta} | ({"finish_reason": finish} if finish else {})
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m-1", "choices": [choice]}


def openrouter(finish: str | None = None, /, native: str | None = None, **delta: Any) -> dict[str, Any]:
    """OpenRouter's: the role in every one, and the vendor's own word for the end."""
    choice = {"index": 0, "delta": {"role": "assistant", "content": ""} | delta, "logprobs": None}
    choice |= {"finish_reason": finish, "native_finish_reason": native or finish}
    common = {"id": "chatcmpl-1", "provider": "Nordlys", "model": "m-1", "object": "chat.completion.chunk"}
    return common | {"choices": [choice]}


DIALECTS = {PLAIN: openai, LITELLM: litellm, OPENROUTER: openrouter}
in_all_dialects = pytest.mark.parametrize(("backend", "event"), DIALECTS.items(), ids=DIALECTS)

TOKENS = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}
PRICED = TOKENS | {
    "cost": 0.000017,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 2},
}
COUNTED = Usage(input_tokens=11, output_tokens=3)
PAID = Usage(
    input_tokens=11, output_tokens=3, reasoning_tokens=2, cached_tokens=4, cost=0.000017, cost_source="usage.cost"
)

ANSWERS = {
    "OpenAI": (
        PLAIN,
        [
            openai(role="assistant", content="", refusal=None),
            openai(content="Hel"),
            openai(content="lo"),
            openai("stop"),
            openai(usage=TOKENS) | {"choices": []},
        ],
        COUNTED,
    ),
    "a proxy of 1.106": (
        LITELLM,
        [
            litellm(role="assistant", content=""),
            litellm(content="Hel"),
            litellm(content="lo"),
            litellm("stop"),
            litellm() | {"usage": PRICED},
        ],
        PAID,
    ),
    "a proxy of 1.109": (
        LITELLM,
        [
            PING,
            litellm(role="assistant", content="Hel"),
            litellm(content="lo"),
            litellm("stop"),
            litellm() | {"usage": PRICED, "choices": []},
        ],
        PAID,
    ),
    "OpenRouter, the finish reason twice": (
        OPENROUTER,
        [
            PROCESSING,
            PROCESSING,
            openrouter(content="Hel"),
            PROCESSING,
            openrouter(content="lo"),
            openrouter("stop", "end_turn"),
            openrouter("stop", "end_turn") | {"usage": PRICED},
        ],
        PAID,
    ),
    "OpenRouter of old, null after the finish reason": (
        OPENROUTER,
        [openrouter(content="Hel"), openrouter("stop", "STOP", content="lo"), openrouter() | {"usage": PRICED}],
        PAID,
    ),
    "usage beside the end": (PLAIN, [openai(content="Hello"), openai("stop", usage=TOKENS)], COUNTED),
    "usage that grows": (
        PLAIN,
        [openai(content="Hello", usage=TOKENS | {"completion_tokens": 1}), openai("stop", usage=TOKENS)],
        COUNTED,
    ),
    "no usage": (PLAIN, [openai(content="Hello"), openai("stop")], Usage()),
    "no delta, but a message": (
        PLAIN,
        [{"id": "chatcmpl-1", "model": "m-1", "choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}],
        Usage(),
    ),
    "content in parts": (PLAIN, [openai(content=[{"type": "text", "text": "Hello"}]), openai("stop")], Usage()),
    "names come late": (
        PLAIN,
        [
            {"id": "", "model": "", "choices": [], "prompt_filter_results": []},
            {"choices": [{"index": 0, "delta": {"content": "Hel"}}]},
            openai(content="lo"),
            {"model": "m-1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        ],
        Usage(),
    ),
    "several answers, of which the first is the one": (
        PLAIN,
        [
            openai(content="Hello"),
            openai() | {"choices": [{"index": 1, "delta": {"content": "Hi"}, "finish_reason": "length"}]},
            openai("stop"),
        ],
        Usage(),
    ),
}


@pytest.mark.parametrize(("backend", "events", "usage"), ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("done", [True, False], ids=["done", "not done"])
def test_an_answer_is_read_in_every_dialect(backend: str, events: Events, usage: Usage, done: bool):  # noqa: FBT001 - a case
    got = told(backend, events, done=done)
    answer = got.whole
    assert (answer.text, answer.finish_reason) == ("Hello", "stop")
    assert (answer.id, answer.served_model) == ("chatcmpl-1", "m-1")
    assert answer.provider == ("Nordlys" if backend == OPENROUTER else None)
    assert answer.usage == usage
    assert "".join(chunk.text for chunk in got.chunks) == "Hello"


def test_a_chunk_has_what_the_server_sent_with_it():
    events = [openai(content="Hello") | {"system_fingerprint": "fp"}, openai("stop", usage=TOKENS)]
    assert [chunk.raw for chunk in told(PLAIN, events).chunks] == events


def test_what_only_a_proxys_headers_say_is_in_the_answer():
    headers = EVENT_STREAM | {
        "x-litellm-call-id": "call-1",
        "x-litellm-attempted-retries": "0",
        "x-litellm-attempted-fallbacks": "1",
        "x-litellm-model-group": "backup",
        "x-litellm-response-cost": "0.5",  # of nothing yet
    }
    body = [sse_event(one) for one in (litellm(content="Hello"), litellm("stop"))]
    answer = told_by(LITELLM, Saying(body, headers=headers)).whole
    assert (answer.call_id, answer.usage) == ("call-1", Usage())
    assert answer.inner == InnerAttempts(retries=0, fallbacks=1, model_group="backup")


# What an answer holds


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
@in_all_dialects
def test_reasoning_is_read_under_both_its_names(backend, event, field):
    got = told(backend, [event(**{field: "Hm"}), event(**{field: ", well"}), event(content="Yes"), event("stop")])
    assert (got.whole.reasoning, got.whole.text) == ("Hm, well", "Yes")
    assert [chunk.reasoning for chunk in got.chunks] == ["Hm", ", well", "", ""]


def test_blocks_of_reasoning_can_be_sent_back():
    def block(**more: Any) -> dict[str, Any]:
        return {"type": "reasoning.text", "index": 0, "format": "anthropic-claude-v1"} | more

    events = [
        openrouter(reasoning="We", reasoning_details=[block(text="We")]),
        openrouter(reasoning=" need", reasoning_details=[block(text=" need")]),
        openrouter(reasoning_details=[block(signature="c2ln")]),
        openrouter(content="Yes"),
        openrouter("stop"),
    ]
    answer = told(OPENROUTER, events).whole
    assert answer.reasoning == "We need"
    assert answer.message["reasoning_details"] == [block(text="We need", signature="c2ln")]


@in_all_dialects
def test_a_refusal_is_an_answer(backend, event):
    got = told(backend, [event(refusal="I will"), event(refusal=" not"), event("stop")])
    assert (got.whole.refusal, got.whole.text) == ("I will not", "")


def test_what_a_model_draws_is_in_the_answer():
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    answer = told(OPENROUTER, [openrouter(images=[image]), openrouter("stop")]).whole
    assert answer.images == (image,)
    assert answer.message["images"] == [image]


def tool(index: int | None, arguments: str = "", **known: Any) -> dict[str, Any]:
    """A piece of a tool call; `name` and `id` stand in its first piece only."""
    function = {"arguments": arguments} | ({"name": known.pop("name")} if "name" in known else {})
    return ({} if index is None else {"index": index}) | {"type": "function", "function": function} | known


@in_all_dialects
def test_tool_calls_are_put_together_from_pieces_that_are_mixed(backend, event):
    pieces = [
        [tool(0, id="a", name="look")],
        [tool(0, '{"at":')],
        [tool(1, id="b", name="go")],
        [tool(1, "{}"), tool(0, ' "ø"')],
        [tool(0, "}")],
    ]
    got = told(backend, [*(event(content=None, tool_calls=piece) for piece in pieces), event("tool_calls")])
    assert got.whole.tool_calls == (
        ToolCall(id="a", name="look", arguments='{"at": "ø"}'),
        ToolCall(id="b", name="go", arguments="{}"),
    )
    assert got.whole.finish_reason == "tool_calls"
    shown = [(delta.index, delta.arguments) for chunk in got.chunks for delta in chunk.tool_calls]
    assert shown == [(0, ""), (0, '{"at":'), (1, ""), (1, "{}"), (0, ' "ø"'), (0, "}")]


@in_all_dialects
def test_tool_calls_that_come_whole_and_unnumbered_are_numbered(backend, event):
    calls = [tool(None, "{}", id="a", name="look"), tool(None, "{}", id="b", name="go")]
    got = told(backend, [event("tool_calls", tool_calls=calls)])
    assert [(call.id, call.name) for call in got.whole.tool_calls] == [("a", "look"), ("b", "go")]


@pytest.mark.parametrize("finish", ["length", "tool_calls"])
def test_a_tool_call_whose_arguments_were_cut_is_not_finished(finish):
    events = [openrouter(tool_calls=[tool(0, '{"at": "Aar', id="a", name="look")]), openrouter(finish, "length")]
    (call,) = told(OPENROUTER, events).whole.tool_calls
    assert not call.is_finished


@pytest.mark.parametrize("finish", [None, "length"])
@in_all_dialects
def test_a_tool_call_that_was_cut_before_its_first_argument_is_not_finished(backend, event, finish):
    calls = [[tool(0, id="a", name="now")], [tool(1, id="b", name="look")]]
    got = told(backend, [*(event(tool_calls=one) for one in calls), event(finish)])
    assert got.answer is not None
    assert [call.is_finished for call in got.answer.tool_calls] == [True, False]
    assert told(backend, [event(tool_calls=calls[0]), event("tool_calls")]).whole.tool_calls[0].is_finished


@pytest.mark.parametrize("index", [0, None])
@in_all_dialects
def test_tool_calls_with_ids_of_their_own_are_told_apart_without_an_index(backend, event, index):
    pieces = [
        tool(index, id="a", name="look"),
        tool(index, '{"at"'),
        tool(index, id="b", name="go"),
        tool(index, "{"),
        tool(index, ': "b"}', id="a"),
        tool(index, "}", id="b"),
    ]
    got = told(backend, [*(event(tool_calls=[piece]) for piece in pieces), event("tool_calls")])
    assert got.whole.tool_calls == (
        ToolCall(id="a", name="look", arguments='{"at": "b"}'),
        ToolCall(id="b", name="go", arguments="{}"),
    )
    assert [delta.index for chunk in got.chunks for delta in chunk.tool_calls] == [0, 0, 1, 1, 0, 1]


def test_a_server_that_gives_every_piece_an_id_of_its_own_calls_once():
    pieces = [tool(0, id="a", name="look"), tool(0, '{"at":', id="b"), tool(0, " 1}", id="c")]
    (call,) = told(PLAIN, [*(openai(tool_calls=[piece]) for piece in pieces), openai("tool_calls")]).whole.tool_calls
    assert call == ToolCall(id="a", name="look", arguments='{"at": 1}')


@in_all_dialects
def test_arguments_that_are_no_text_become_it(backend, event):
    call = {"index": 0, "id": "a", "function": {"name": "look", "arguments": {"at": "ø"}}}
    got = told(backend, [event(tool_calls=[call]), event("tool_calls")])
    assert got.whole.tool_calls == (ToolCall(id="a", name="look", arguments='{"at": "ø"}'),)


@pytest.mark.parametrize("calls", [[{}], [None], [{"index": 0, "id": "a", "function": {"arguments": "{}"}}]])
@in_all_dialects
def test_a_tool_call_without_a_name_is_none(backend, event, calls):
    assert told(backend, [event(tool_calls=calls), event("tool_calls")]).blame == UNUSABLE
    got = told(backend, [event(content="Hello"), event(tool_calls=calls), event("stop")])
    assert (got.whole.text, got.whole.tool_calls) == ("Hello", ())


def test_what_came_before_a_tool_calls_name_belongs_to_it():
    pieces = [tool(0, "{", id="a"), tool(0, "}", name="look")]
    got = told(PLAIN, [*(openai(tool_calls=[piece]) for piece in pieces), openai("tool_calls")])
    assert got.whole.tool_calls == (ToolCall(id="a", name="look", arguments="{}"),)


def test_arguments_that_are_nested_too_deep_are_not_finished():
    assert not ToolCall(id="a", name="look", arguments="[" * 99999).is_finished


# Read to its end, a stream is what the whole answer would have been

PNG = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
SOURCE = {"type": "url_citation", "url_citation": {"url": "https://a.example"}}
THOUGHT = {"type": "reasoning.text", "index": 0, "text": "Hm", "signature": "c2ln"}
VOICE = {"id": "audio-1", "data": "AAAABBBB", "transcript": "Hello", "expires_at": 1790000000}
CALL = {"name": "look", "arguments": '{"at": 1}'}

ALIKE: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {
    "a call of old": (
        {"function_call": CALL},
        [{"function_call": {"name": "look", "arguments": ""}}, {"function_call": {"arguments": '{"at": 1}'}}],
    ),
    "a voice": (
        {"audio": VOICE},
        [
            {"audio": {"id": "audio-1", "transcript": "Hel"}},
            {"audio": {"data": "AAAA"}},
            {"audio": {"data": "BBBB", "transcript": "lo"}},
            {"audio": {"expires_at": 1790000000}},
        ],
    ),
    "an image among parts": (
        {"content": [{"type": "text", "text": "Look: "}, PNG]},
        [{"content": [{"type": "text", "text": "Look: "}]}, {"content": [PNG]}],
    ),
    "sources": (
        {"content": "Hello", "annotations": [SOURCE, SOURCE]},
        [{"content": "Hello", "annotations": [SOURCE]}, {"annotations": [SOURCE]}],
    ),
    "thoughts": (
        {"content": "Hello", "reasoning": "Hm", "reasoning_details": [THOUGHT]},
        [{"reasoning": "Hm", "reasoning_details": [THOUGHT]}, {"content": "Hello"}],
    ),
}


def said(answer: Completion, *message: str) -> dict[str, Any]:
    """What an answer says, and what these fields of its message say."""
    return {
        "text": answer.text,
        "reasoning": answer.reasoning,
        "tool_calls": answer.tool_calls,
        "images": answer.images,
        "finish_reason": answer.finish_reason,
        **{name: answer.message.get(name) for name in message},
    }


@pytest.mark.parametrize(("message", "deltas"), ALIKE.values(), ids=ALIKE)
@in_all_dialects
def test_read_to_its_end_a_stream_is_the_whole_answer(backend, event, message, deltas):
    kept = [name for name in ("audio", "annotations", "reasoning_details") if name in message]
    expected = said(completed(backend, whole_answer(**message)), *kept)
    assert all(expected[name] == message[name] for name in kept)
    streamed = [event(**{"content": None} | delta) for delta in deltas]
    assert said(told(backend, [*streamed, event("stop")]).whole, *kept) == expected
    assert said(came_whole(backend, whole_answer(**message)).whole, *kept) == expected


def test_sources_are_shown_as_they_come():
    got = told(PLAIN, [openai(content="Hello"), openai(annotations=[SOURCE]), openai("stop")])
    assert [chunk.annotations for chunk in got.chunks] == [(), (SOURCE,), ()]


def test_a_voice_is_nothing_said_until_it_speaks():
    got = told(PLAIN, [openai(audio={"id": "audio-1"}), router_error(502)])
    assert got.blame == SERVER


def test_a_generations_id_is_read_from_the_header_where_no_event_has_one():
    events = [openrouter(content="Hello") | {"id": None}, openrouter("stop") | {"id": None}]
    transport = Saying([*map(sse_event, events), DONE], headers=EVENT_STREAM | {"x-generation-id": "gen-7"})
    assert told_by(OPENROUTER, transport).whole.id == "gen-7"


def native(word: str, **delta: Any) -> dict[str, Any]:
    """An event with the vendor's own finish reason only."""
    return openrouter(None, word, **delta)


@pytest.mark.parametrize("done", [True, False])
def test_a_vendors_own_finish_reason_is_kept_where_the_normal_one_is_missing(done):
    got = told(OPENROUTER, [native("STOP", content="Hel"), native("STOP", content="lo")], done=done)
    assert (got.whole.text, got.whole.finish_reason) == ("Hello", "STOP")
    assert told(OPENROUTER, [native("STOP", content="Hello"), openrouter("stop")]).whole.finish_reason == "stop"


@pytest.mark.parametrize("backend", DIALECTS)
def test_json_without_a_finish_reason_is_no_answer_either_way(backend):
    body = whole_answer(content="Hello")
    body["choices"][0]["finish_reason"] = None
    assert came_whole(backend, body).blame == UNUSABLE
    with pytest.raises(AllTargetsFailed) as failed:
        completed(backend, body)
    assert failed.value.decision is not None
    assert failed.value.decision.attempts[0].failure == came_whole(backend, body).failure


# How an answer ends


@pytest.mark.parametrize("after", [None, "length", "error_free"])
@in_all_dialects
def test_the_first_finish_reason_is_the_one(backend, event, after):
    assert told(backend, [event(content="Hello"), event("stop"), event(after)]).whole.finish_reason == "stop"


@pytest.mark.parametrize("done", [True, False])
@in_all_dialects
def test_a_stream_without_a_finish_reason_is_interrupted(backend, event, done):
    got = told(backend, [event(content="Hel"), event(content="lo")], done=done)
    assert got.blame == CUT
    assert got.partial.text == "Hello"


@pytest.mark.parametrize("events", [[], [PING, PROCESSING], [DONE]], ids=["nothing", "comments", "done twice"])
@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("backend", DIALECTS)
def test_a_stream_that_says_nothing_is_unusable(backend, events, done):
    assert told(backend, events, done=done).blame == UNUSABLE


@in_all_dialects
def test_an_empty_answer_is_unusable(backend, event):
    assert told(backend, [event(role="assistant", content=""), event("stop")]).blame == UNUSABLE


@in_all_dialects
def test_an_answer_of_which_a_content_filter_left_nothing_is_the_requests_fault(backend, event):
    assert told(backend, [event(role="assistant", content=""), event("content_filter")]).blame == POLICY


@in_all_dialects
def test_an_answer_that_a_content_filter_cut_is_an_answer(backend, event):
    answer = told(backend, [event(content="Once"), event("content_filter")]).whole
    assert (answer.text, answer.finish_reason) == ("Once", "content_filter")


@in_all_dialects
def test_an_empty_answer_that_is_long_enough_is_an_answer(backend, event):
    assert told(backend, [event(role="assistant", content=""), event("length")]).whole.text == ""


# An error among the events

PROXY_ERROR = "litellm.APIConnectionError: OpenAIException - gone"


def proxy_error(code: str, message: str = PROXY_ERROR) -> dict[str, Any]:
    return {"error": {"message": message, "type": None, "param": None, "code": code}}


def openrouters(code: int, message: str, **metadata: object) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "metadata": metadata}}


def router_error(code: object, message: str = "Provider returned error", **more: Any) -> dict[str, Any]:
    return openrouter("error") | {"error": {"code": code, "message": message}} | more


ERRORS = {
    "a proxy's": (LITELLM, proxy_error("500"), SERVER),
    "a proxy's, of a limit behind": (LITELLM, proxy_error("429", "litellm.RateLimitError: slow"), BUSY),
    "a proxy's, before the answer began": (LITELLM, proxy_error("408", "Error processing stream start"), SERVER),
    "a proxy's, of a choice": (
        LITELLM,
        litellm("stop")
        | {
            "choices": [
                {"index": 0, "delta": {}, "provider_specific_fields": {"error": {"message": "no", "code": 502}}}
            ]
        },
        SERVER,
    ),
    "OpenRouter's": (OPENROUTER, router_error(502), SERVER),
    "OpenRouter's, a limit of the provider": (OPENROUTER, router_error(429), BUSY),
    "OpenRouter's, with a word for a code": (OPENROUTER, router_error("server_error"), SERVER),
    "OpenRouter's, with a word that means a status": (OPENROUTER, router_error("rate_limit_exceeded"), BUSY),
    "OpenRouter's, without a choice": (OPENROUTER, router_error(503, choices=[]), SERVER),
    "OpenRouter's, without a finish reason": (
        OPENROUTER,
        openrouter() | {"error": {"code": 502, "message": ""}},
        SERVER,
    ),
    "OpenRouter's, the prompt": (
        OPENROUTER,
        openrouter() | {"error": {"code": 400, "message": "Token limit reached"}},
        TOO_LONG,
    ),
    "nothing but a finish reason": (OPENROUTER, openrouter("error"), SERVER),
    "nothing but the vendor's finish reason": (OPENROUTER, openrouter("stop", "network_error"), SERVER),
    "text": (PLAIN, {"error": "overloaded"}, SERVER),
    "OpenAI's": (PLAIN, {"error": {"message": "sorry", "type": "server_error", "param": None, "code": None}}, SERVER),
    "vLLM's": (PLAIN, {"object": "error", "message": "no", "type": "BadRequestError", "code": 400}, REJECTED),
    "FastAPI's": (PLAIN, {"detail": "no"}, SERVER),
    "an event that is called one": (PLAIN, b'event: error\ndata: {"message": "no", "code": 429}\n\n', QUOTA),
    "an event that is called one, with nothing in it": (PLAIN, b"event: error\ndata: {}\n\n", SERVER),
    "an event that is called one, with an error": (
        LITELLM,
        b"event:error\n" + sse_event(proxy_error("429", "litellm.RateLimitError: slow")),
        BUSY,
    ),
}
in_every_way = pytest.mark.parametrize(("backend", "error", "blame"), ERRORS.values(), ids=ERRORS)


@in_every_way
def test_an_error_before_the_first_content_is_what_its_code_says(backend, error, blame):
    beginning = DIALECTS[backend](role="assistant", content="")
    assert told(backend, [error]).blame == blame
    assert told(backend, [PING, beginning, error]).blame == blame


@in_every_way
@pytest.mark.parametrize("finish", [None, "stop"])
def test_an_error_after_the_first_content_interrupts(backend, error, blame, finish):
    event = DIALECTS[backend]
    got = told(backend, [event(content="Hel"), event(finish, content="lo"), error])
    # What was being answered is not the request's fault any more.
    assert got.blame == (CUT if blame in (TOO_LONG, REJECTED) else ("interrupted", *blame[1:]))
    assert got.partial.text == "Hello"


def test_what_a_broken_answer_has_cost_is_known():
    got = told(OPENROUTER, [openrouter(content="Hel"), router_error(502, usage=PRICED)])
    assert got.partial.usage == PAID


def test_an_error_that_is_null_is_none():
    events = [openai(content="Hello") | {"error": None}, openai("stop") | {"error": None}]
    assert told(PLAIN, events).whole.text == "Hello"


@pytest.mark.parametrize(
    "event",
    [b"data: {\n\n", b"data: []\n\n", b"data: hello\n\n", b"data: \xff\n\n", b"data: " + b"[" * 99999 + b"\n\n"],
)
def test_an_event_that_is_not_an_object_breaks_the_stream(event):
    assert told(PLAIN, [event]).blame == UNUSABLE
    assert told(PLAIN, [openai(content="Hel"), event]).blame == CUT


@pytest.mark.parametrize("nothing", [b"data:\n\n", b"data: \n\n", b"data\n\n", b"event: error\ndata:\n\n"])
def test_an_event_with_nothing_in_it_is_passed_over(nothing):
    assert told(PLAIN, [nothing, openai(content="Hello"), nothing, openai("stop")]).whole.text == "Hello"


def test_done_is_done_with_a_blank_behind_it():
    events = [openai(content="Hello"), openai("stop"), b"data: [DONE] \n\n"]
    assert told(PLAIN, events, done=False).whole.text == "Hello"


def test_the_first_of_several_answers_in_one_event_is_the_one_wherever_it_stands():
    def both(finish: str | None, *texts: str) -> dict[str, Any]:
        choices = [openai(finish, content=text)["choices"][0] | {"index": 1 - n} for n, text in enumerate(texts)]
        return openai() | {"choices": choices}

    got = told(PLAIN, [both(None, "Bon", "Hel"), both(None, "jour", "lo"), both("stop", "", "")])
    assert (got.whole.text, got.whole.finish_reason) == ("Hello", "stop")


@pytest.mark.parametrize("field", ["content", "reasoning"])
def test_a_character_that_is_cut_in_two_is_put_together(field):
    text = ["\ud83e", "\uddf9 clean \ud83e", "", "\uddf9", "!"]
    pieces = [b"data: %b\n\n" % json.dumps(openai(**{field: piece})).encode() for piece in text]
    got = told(PLAIN, [*pieces, openai(content="."), openai("stop")])
    shown = "".join(chunk.text + chunk.reasoning for chunk in got.chunks)
    assert shown == got.whole.reasoning + got.whole.text == "🧹 clean 🧹!."
    assert all((chunk.text + chunk.reasoning).isprintable() for chunk in got.chunks)


# Two answers in one


def test_another_answer_in_the_same_stream_interrupts_and_is_not_shown():
    other = litellm(content="Once more from the top") | {"id": "chatcmpl-2", "model": "m-2"}
    got = told(LITELLM, [litellm(content="Hel"), other, litellm("stop")])
    assert got.blame == CUT
    assert got.partial.text == "Hel"


@pytest.mark.parametrize("change", [{"id": "chatcmpl-2"}, {"model": "m-2"}])
def test_a_change_of_id_or_model_is_another_answer(change):
    assert told(LITELLM, [litellm(content="Hel"), litellm("stop", content="lo") | change]).blame == CUT


def test_what_a_proxy_adds_without_a_choice_is_no_other_answer():
    added = {"id": "litellm-fallback-metadata", "model": "m-0", "choices": [], "litellm_fallback": {"errors": []}}
    events = [litellm(role="assistant", content=""), added, litellm(content="Hello"), litellm("stop")]
    assert told(LITELLM, events).whole.id == "chatcmpl-1"


def test_a_proxy_that_says_the_role_again_goes_on_with_another_answer():
    first = litellm(role="assistant", content="Hel")
    got = told(LITELLM, [first, litellm(role="assistant", content="Once more"), litellm("stop")])
    assert got.blame == CUT
    assert got.partial.text == "Hel"
    assert told(LITELLM, [first, litellm(role="assistant"), litellm(content="Once more"), litellm("stop")]).blame == CUT


def test_a_role_that_a_proxy_says_again_before_the_answer_or_after_its_end_is_no_other_answer():
    role = litellm(role="assistant", content="")
    assert told(LITELLM, [role, role, litellm(content="Hello"), litellm("stop"), role]).whole.text == "Hello"


@pytest.mark.parametrize("more", [{"content": " again"}, {"reasoning": "Hm"}, {"refusal": "No"}])
@in_all_dialects
def test_what_comes_after_the_finish_reason_interrupts_and_is_not_shown(backend, event, more):
    got = told(backend, [event(content="Hello"), event("stop"), event(**more)])
    assert got.blame == CUT
    assert (got.partial.text, got.partial.reasoning, got.partial.refusal) == ("Hello", "", None)


@in_all_dialects
def test_what_comes_after_done_is_not_taken(backend, event):
    got = told(backend, [event(content="Hello"), event("stop"), DONE, event(content="Once more"), event("length")])
    assert (got.whole.text, got.whole.finish_reason) == ("Hello", "stop")


@in_all_dialects
def test_an_end_after_done_is_none(backend, event):
    assert told(backend, [event(content="Hello"), DONE, event(content="Once more"), event("stop")]).blame == CUT


@pytest.mark.parametrize(
    "choices", [[], [{"index": 0, "delta": {}}], [{"index": 0, "delta": {}, "finish_reason": "stop"}]]
)
@in_all_dialects
def test_what_only_counts_is_no_other_answer(backend, event, choices):
    counted = {"id": "chatcmpl-2", "model": "m-2", "choices": choices, "usage": TOKENS}
    answer = told(backend, [event(content="Hello"), event("stop"), counted]).whole
    assert (answer.text, answer.id, answer.served_model, answer.usage) == ("Hello", "chatcmpl-1", "m-1", COUNTED)


# Something else than a stream


def whole_answer(**message: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant"} | message, "finish_reason": "stop"}
    return {"id": "chatcmpl-1", "model": "m-1", "choices": [choice], "usage": TOKENS}


@pytest.mark.parametrize("backend", DIALECTS)
def test_an_answer_that_comes_whole_is_shown_in_one_piece(backend):
    calls = [{"id": "a", "type": "function", "function": {"name": "look", "arguments": "{}"}}]
    got = came_whole(backend, whole_answer(content="Hello", reasoning="Hm", tool_calls=calls))
    (chunk,) = got.chunks
    answer = got.whole
    assert isinstance(answer, Completion)
    assert (chunk.text, answer.text, answer.reasoning) == ("Hello", "Hello", "Hm")
    assert answer.tool_calls == (ToolCall(id="a", name="look", arguments="{}"),)
    assert (answer.usage, answer.id, answer.finish_reason) == (COUNTED, "chatcmpl-1", "stop")


WHOLE_FAILURES = {
    "an empty answer": (PLAIN, 200, whole_answer(content=""), UNUSABLE),
    "an error in a 200": (OPENROUTER, 200, openrouters(502, "Provider returned error"), SERVER),
    "no choices": (PLAIN, 200, {"choices": None}, UNUSABLE),
    "nothing": (PLAIN, 200, b"", UNUSABLE),
    "400": (PLAIN, 400, {"error": {"message": "Unknown parameter: 'x'."}}, REJECTED),
    "401": (OPENROUTER, 401, openrouters(401, "No cookie auth credentials found"), AUTH),
    "401 of the model behind": (LITELLM, 401, proxy_error("401", "litellm.AuthenticationError: no"), AUTH_BEHIND),
    "400 of the model behind": (LITELLM, 400, proxy_error("400", "litellm.BadRequestError: no"), REJECTED_BEHIND),
    "400, no such model": (OPENROUTER, 400, openrouters(400, "x/y is not a valid model ID"), UNKNOWN),
    "429": (OPENROUTER, 429, openrouters(429, "Rate limit exceeded: free-models-per-day"), QUOTA),
    "429 of a provider": (OPENROUTER, 429, openrouters(429, "Provider returned error", provider_name="N"), BUSY),
    "500": (LITELLM, 500, proxy_error("500"), SERVER),
    "503 of a load balancer": (PLAIN, 503, b"<html>no</html>", IN_FRONT),
}


@pytest.mark.parametrize(("backend", "status", "body", "blame"), WHOLE_FAILURES.values(), ids=WHOLE_FAILURES)
def test_a_failure_that_comes_whole_is_what_it_would_be_without_a_stream(backend, status, body, blame):
    got = came_whole(backend, body, status)
    assert got.blame == blame
    assert got.failure is not None
    assert got.failure.status == status


def test_how_long_to_stay_away_is_read_from_a_failed_stream():
    got = came_whole(OPENROUTER, openrouters(429, "slow"), 429, **{"retry-after": "7"})
    assert got.failure is not None
    assert got.failure.retry_after == 7


def test_a_web_page_is_no_answer():
    assert came_whole(PLAIN, b"<html>hello</html>", kind="text/html").blame == UNUSABLE


def test_a_stream_under_a_failed_status_is_a_failure():
    """A proxy of 1.80 says so when everything that it has is cooled down."""
    body = PING + sse_event(proxy_error("503", "No deployments available")) + DONE
    got = came_whole(LITELLM, body, 503, kind="text/event-stream")
    assert got.blame == SERVER
    assert got.failure is not None
    assert got.failure.detail == "No deployments available"


def test_an_event_of_another_type_is_none():
    message = b"event: message\n" + sse_event(openai(content="Hello"))
    assert told(PLAIN, [message, b"event: error\n\n", openai("stop")]).whole.text == "Hello"


@pytest.mark.parametrize("backend", DIALECTS)
def test_json_that_is_called_a_stream_is_read_as_json(backend):
    body = json.dumps(whole_answer(content="Hello"), indent=1).encode()
    for pieces in ([body], [b" ", b"\n", body[:9], body[9:]]):
        assert told_by(backend, Saying(pieces)).whole.text == "Hello"
    failed = came_whole(backend, openrouters(429, "slow"), kind="text/event-stream")
    assert failed.blame[0] == "rate_limit"


# Whatever comes

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 600) | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


def shaped(names: str, **known: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with some of these names, and anything under them."""
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names.split(), ANY_JSON) | known)


FUNCTION = shaped("name arguments")
CALL = shaped("index id type", function=FUNCTION | ANY_JSON)
DELTA = shaped(
    "content reasoning reasoning_content reasoning_details refusal images",
    tool_calls=st.lists(CALL | ANY_JSON, max_size=2) | ANY_JSON,
)
CHOICE = shaped(
    "index error finish_reason native_finish_reason message provider_specific_fields", delta=DELTA | ANY_JSON
)
USAGE = shaped("prompt_tokens completion_tokens cost completion_tokens_details")
EVENT = shaped(
    "id model provider error", choices=st.lists(CHOICE | ANY_JSON, max_size=2) | ANY_JSON, usage=USAGE | ANY_JSON
)


@settings(max_examples=75, deadline=None)
@given(backend=st.sampled_from([*DIALECTS]), events=st.lists(EVENT, max_size=4))
@example(backend=OPENROUTER, events=[{"choices": [{"native_finish_reason": []}]}])
def test_whatever_comes_is_an_answer_or_a_failure_and_never_the_plugins_fault(backend: str, events: Events):
    got = told(backend, events)
    assert got.failure is None or not got.failure.message.startswith("plugin ")
