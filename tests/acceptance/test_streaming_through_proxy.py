"""Streams through the real LiteLLM proxy, from a scripted OpenRouter that does to them what providers do."""

import asyncio
import http.client
import json
from collections.abc import Callable
from contextlib import closing
from time import monotonic
from typing import Any

import pytest
from attrs import frozen

from pointsman import Router
from pointsman.chat import Chunk, Completion
from pointsman.errors import RouteError, StreamInterrupted
from pointsman.testing import (
    SSE,
    Answer,
    Drop,
    Hang,
    Reply,
    openrouter_answer,
    openrouter_stream,
    openrouter_usage,
    provider_rate_limit,
)
from tests.acceptance.friday import DIRECT, PROXY, Friday, story
from tests.acceptance.openrouter import COST
from tests.support.litellm_proxy import LiteLLMProxy
from tests.support.reference import PINGING
from tests.support.wires import error_event, event

pytestmark = pytest.mark.litellm

MODEL, SLUG = "claude-3-haiku", "anthropic/claude-3-haiku"
PROXIED = 12
"""A user on the proxy's path."""

PIECES = ["Kære ", "Mette ", "Hansen, ", "flytterengøring ", "på ", "fredag. 🧹"]
TEXT = "".join(PIECES)
USAGE = openrouter_usage(TEXT, cost=COST)
DIRECT_PIECES = ["Direkte: ", *PIECES]

LIMIT = 0.5
"""Seconds for the first content and between two, where a test waits for it."""

APART = 0.05
"""Seconds between two events, so that the proxy relays the first ones before the last has come."""


@frozen(kw_only=True)
class Heard:
    """What a reader got."""

    chunks: list[Chunk]
    completion: Completion | None
    error: RouteError | None
    story: list[str]

    @property
    def text(self) -> str:
        return "".join(chunk.text for chunk in self.chunks)


def listen(router: Router, **call: Any) -> Heard:
    stream, chunks, error = router.stream("Svar Mette Hansen", **call), [], None
    try:
        chunks.extend(stream)
    except RouteError as raised:
        error = raised
    return heard(stream, chunks, error)


def listen_in_a_loop(router: Router, **call: Any) -> Heard:
    async def main() -> Heard:
        stream, chunks, error = router.astream("Svar Mette Hansen", **call), [], None
        try:
            async for chunk in stream:
                chunks.append(chunk)  # noqa: PERF401 - what came before an error counts
        except RouteError as raised:
            error = raised
        return heard(stream, chunks, error)

    return asyncio.run(main())


def heard(stream: Any, chunks: list[Chunk], error: RouteError | None) -> Heard:
    completion = None if error else stream.completion
    return Heard(chunks=chunks, completion=completion, error=error, story=story(stream.decision))


Hear = Callable[..., Heard]


@pytest.fixture(params=[listen, listen_in_a_loop], ids=["stream", "astream"])
def hear(request: pytest.FixtureRequest, friday: Friday) -> Hear:
    """What is heard of a model whose stream the provider, as the proxy meets it, writes in a certain way.

    Directly it is answered by another text, so that nobody can take the one for the other.
    """

    def ask(upstream: Answer, *, model: str = MODEL, **limits: Any) -> Heard:
        friday.proxy.upstream.play(upstream)
        friday.openrouter.play(openrouter_stream(SLUG, DIRECT_PIECES))
        with friday.router(**limits) as router:
            answer = request.param(router, task="email-draft", unit=PROXIED, model=model)
        assert len(friday.proxy.upstream.requests) == 1
        assert len(friday.openrouter.requests) == len(answer.story) - 1
        return answer

    return ask


def served_directly(answer: Heard, failed_with: str, model: str = MODEL) -> None:
    assert answer.error is None
    assert answer.text == "".join(DIRECT_PIECES)
    assert answer.story == [f"{PROXY}/{model}: {failed_with}", f"{DIRECT}/{model}: answered"]


def interrupted(answer: Heard, text: str) -> None:
    assert isinstance(answer.error, StreamInterrupted)
    assert answer.error.partial is not None
    assert answer.text == answer.error.partial.text == text
    assert answer.story == [f"{PROXY}/{MODEL}: interrupted"]


def test_an_answer_comes_through_with_its_usage_cost_and_ids(hear: Hear, friday: Friday) -> None:
    answer = hear(openrouter_stream(SLUG, PIECES, usage=USAGE, delay=0.01))
    reply = answer.completion
    assert reply is not None
    assert answer.text == reply.text == TEXT
    assert [chunk.text for chunk in answer.chunks if chunk.text] == PIECES
    assert (reply.finish_reason, reply.served_model) == ("stop", f"openrouter/{SLUG}")
    assert (reply.usage.input_tokens, reply.usage.output_tokens) == (42, USAGE["completion_tokens"])
    assert (reply.usage.cost, reply.usage.cost_source) == (COST, "usage.cost")
    assert reply.id
    assert reply.id.startswith("gen-")
    assert reply.call_id
    assert reply.inner
    assert (reply.inner.retries, reply.inner.fallbacks) == (0, 0)
    assert answer.story == [f"{PROXY}/{MODEL}: answered"]
    (request,) = friday.proxy.upstream.requests
    assert request.streamed
    assert request.model == SLUG


def test_an_answer_comes_piece_by_piece(friday: Friday) -> None:
    friday.proxy.upstream.play(openrouter_stream(SLUG, PIECES, delay=APART))
    with friday.router() as router:
        stream = router.stream("Svar", task="email-draft", unit=PROXIED, model=MODEL)
        came = [monotonic() for chunk in stream if chunk.text]
    assert came[-1] - came[0] > 2 * APART
    assert stream.decision
    first = stream.decision.attempts[0].time_to_first_token
    assert first
    assert first < stream.decision.attempts[0].duration - 2 * APART


@pytest.mark.parametrize(
    ("upstream", "kind"),
    [
        (Reply(500, {"error": {"code": 500, "message": "Internal Server Error"}}), "server"),
        (provider_rate_limit(SLUG, retry_after=7), "rate_limit"),
        (Drop(), "server"),
        (SSE([], done=False, then=Drop()), "server"),
        (SSE([event()], done=False, then=Drop(reset=True)), "server"),
        (SSE([error_event(502)]), "server"),
        (SSE([error_event(429, "Rate limit exceeded")]), "rate_limit"),
    ],
    ids=["500", "429", "hangs up", "hangs up after the headers", "resets after the role", "error event", "429 event"],
)
def test_a_failure_before_the_first_token_is_taken_over_by_the_direct_path(
    hear: Hear, upstream: Answer, kind: str
) -> None:
    served_directly(hear(upstream), kind)


def test_a_dead_proxy_is_taken_over_by_the_direct_path(friday: Friday, dead_address: str) -> None:
    friday.openrouter.play(openrouter_stream(SLUG, DIRECT_PIECES))
    with friday.router(proxy_url=dead_address) as router:
        answer = listen(router, task="email-draft", unit=PROXIED, model=MODEL)
    served_directly(answer, "connect")


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
def test_a_drop_in_the_middle_interrupts_and_is_not_continued_elsewhere(hear: Hear, *, reset: bool) -> None:
    dropped = openrouter_stream(SLUG, PIECES, cut_after=3, delay=APART, then=Drop(reset=reset, delay=APART))
    interrupted(hear(dropped), "".join(PIECES[:3]))


def test_an_error_event_in_the_middle_interrupts(hear: Hear) -> None:
    answer = hear(SSE([event("Kære "), event("Mette "), error_event(502)], delay=APART))
    interrupted(answer, "Kære Mette ")
    assert "code 502" in str(answer.error)


def test_a_stall_in_the_middle_interrupts(hear: Hear) -> None:
    answer = hear(openrouter_stream(SLUG, PIECES, cut_after=2, then=Hang()), idle_timeout=LIMIT)
    interrupted(answer, "Kære Mette ")


def test_a_proxy_that_is_killed_in_the_middle_interrupts(start_litellm: Callable[..., Any], server: Any) -> None:
    friday = Friday(start_litellm(), server)
    friday.proxy.upstream.play(openrouter_stream(SLUG, PIECES, cut_after=2, then=Hang()))
    with friday.router() as router:
        stream = router.stream("Svar", task="email-draft", unit=PROXIED, model=MODEL)
        texts = [next(stream).text for _ in range(2)]
        friday.proxy.kill()
        with pytest.raises(StreamInterrupted) as caught:
            list(stream)
    assert texts == PIECES[:2]
    assert caught.value.partial
    assert caught.value.partial.text == "".join(texts)
    assert friday.openrouter.requests == []


@pytest.mark.parametrize("done", [False, True], ids=["without [DONE]", "with [DONE]"])
def test_an_end_without_a_finish_reason_is_what_the_proxy_makes_of_it(hear: Hear, *, done: bool) -> None:
    answer = hear(SSE([event("Kære "), event("Mette ")], delay=APART, done=done))
    # This release of the proxy writes a finish reason of its own, `stop`, a usage that it counted itself, and [DONE].
    # Nothing on the wire tells that from an answer; all that one can see is that nobody said what it cost.
    assert answer.completion is not None
    assert (answer.text, answer.completion.finish_reason) == ("Kære Mette ", "stop")
    assert answer.completion.usage.cost is None
    assert answer.story == [f"{PROXY}/{MODEL}: answered"]


def test_an_end_without_anything_is_taken_over_by_the_direct_path(hear: Hear) -> None:
    # The proxy finishes this one too, but an answer that says nothing is none.
    served_directly(hear(SSE([event()], done=False)), "bad_response")


def test_json_instead_of_a_stream_is_taken_over_by_the_direct_path(hear: Hear) -> None:
    # To an `openai/` model the proxy gives an empty success; of an `openrouter/` one it says what it could not read.
    served_directly(hear(openrouter_answer(SLUG, TEXT)), "bad_request")


def test_comments_only_are_taken_over_by_the_direct_path_at_the_first_token_limit(hear: Hear, friday: Friday) -> None:
    answer = hear(SSE([b": OPENROUTER PROCESSING\n\n"] * 1000, delay=0.02), first_token_timeout=LIMIT)
    served_directly(answer, "timeout")
    upstream = friday.proxy.upstream
    assert upstream.wait_for(lambda: len(upstream.abandoned) == 1, 1.0)


def test_the_proxys_own_pings_do_not_satisfy_the_first_token_limit(hear: Hear, friday: Friday) -> None:
    friday.proxy.upstream.play(Hang())
    assert first_line(friday.proxy) == b": ping\n"
    served_directly(hear(Hang(), model="kimi-k2-free", first_token_timeout=LIMIT), "timeout", model="kimi-k2-free")


def first_line(proxy: LiteLLMProxy) -> bytes:
    """Of the body that the proxy answers with while the provider is silent."""
    body = json.dumps({"model": PINGING, "stream": True, "messages": [{"role": "user", "content": "Hej"}]})
    headers = {"authorization": f"Bearer {proxy.master_key}", "content-type": "application/json"}
    with closing(http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=5)) as connection:
        connection.request("POST", "/chat/completions", body, headers)
        return connection.getresponse().readline()


def test_an_answer_that_comes_after_pings_is_one(hear: Hear) -> None:
    answer = hear(openrouter_stream(SLUG, PIECES[:1], delay=0.15), model="kimi-k2-free")
    assert answer.text == PIECES[0]
    assert answer.story == [f"{PROXY}/kimi-k2-free: answered"]


def test_an_error_that_comes_after_pings_is_taken_over_by_the_direct_path(hear: Hear) -> None:
    late = Reply(500, {"error": {"code": 500, "message": "Internal Server Error"}}, delay=0.3)
    served_directly(hear(late, model="kimi-k2-free"), "server", model="kimi-k2-free")


@pytest.mark.parametrize("unit", [42, 12], ids=["direct", "proxied"])
def test_a_reader_who_leaves_is_seen_upstream_within_a_second(friday: Friday, unit: int) -> None:
    endless = SSE([event(f"{n} ") for n in range(10_000)], delay=0.01)
    friday.play(endless)
    with friday.router() as router:
        stream = router.stream("Svar", task="email-draft", unit=unit, model=MODEL)
        next(stream)
        stream.close()
        receiver = friday.proxy.upstream if unit == PROXIED else friday.openrouter
        assert receiver.wait_for(lambda: len(receiver.abandoned) == 1, 1.0)
    assert stream.decision
    assert stream.decision.outcome == "abandoned"
