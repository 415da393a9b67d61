"""Events that come together mean what they mean one by one: what stands before a fault is told, and then the fault."""

import asyncio
import gzip
from collections.abc import Sequence

import pytest

from pointsman.context import AttemptContext
from pointsman.errors import AttemptFailed, Failure
from pointsman.testing.replies import sse_event
from pointsman_openai_compatible import OpenAICompatible
from tests.wire.loopback import a_request, a_target, started
from tests.wire.streamed import EVENT_STREAM, Saying


def event(text: str) -> bytes:
    return sse_event({"choices": [{"index": 0, "delta": {"content": text}}]})


TWO = event("a") + event("b")
MORE = event("c")
LARGEST = len(MORE)
PLENTY = 1 << 20


def told_of(
    pieces: Sequence[bytes], encoding: str = "identity", *, max_body: int = PLENTY, max_event: int = PLENTY
) -> tuple[str, Failure]:
    """The text that came, and the failure that ended it."""

    async def run() -> tuple[str, Failure]:
        saying = Saying(pieces, headers=EVENT_STREAM | {"content-encoding": encoding})
        backend = OpenAICompatible(
            base_url="http://unused.invalid", transport=lambda: saying, max_body=max_body, max_event=max_event
        )
        text = ""
        async with started(backend):
            ctx = AttemptContext(request_id="r", number=1, time_limit=30.0)
            try:
                async for chunk in backend.stream(a_target(), a_request(stream=True), ctx):
                    text += chunk.text
            except AttemptFailed as failed:
                return text, failed.failure
        raise AssertionError(text)

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (sse_event({"error": {"message": "boom", "code": 429}}), "rate_limit"),
        (b"event: error\n" + sse_event({"message": "boom"}), "server"),
        (b"data: {no JSON\n\n", "bad_response"),
        (b"data: [1]\n\n", "bad_response"),
        (sse_event({"object": "x" * LARGEST, "choices": []}), "bad_response"),
        (b"data: " + b"x" * 2 * LARGEST, "bad_response"),
    ],
    ids=["error", "event called one", "no JSON", "no object", "too large", "too large and unfinished"],
)
def test_what_stands_before_a_fault_is_told_and_nothing_behind_it(fault: bytes, kind: str) -> None:
    body = TWO + fault + MORE
    together = told_of([body], max_event=LARGEST)
    assert together[0] == "ab"
    assert together[1].kind == kind
    assert told_of([body[place : place + 1] for place in range(len(body))], max_event=LARGEST) == together


def test_what_a_body_holds_up_to_its_cap_is_told() -> None:
    text, failure = told_of([TWO + MORE], max_body=len(TWO))
    assert text == "ab"
    assert "max_body" in failure.message


def test_what_a_compressed_body_holds_up_to_its_cap_is_told() -> None:
    text, failure = told_of([gzip.compress(TWO + MORE * 20)], "gzip", max_body=len(TWO))
    assert text == "ab"
    assert "max_body" in failure.message


def test_what_is_smaller_unpacked_is_told_although_it_was_received_over_the_cap() -> None:
    packed = gzip.compress(TWO, compresslevel=0)
    assert len(packed) > len(TWO)
    text, failure = told_of([packed], "gzip", max_body=len(TWO))
    assert text == "ab"
    assert "max_body" in failure.message
