"""One streamed answer: from the response to chunks, or to the failure that ends it."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

import httpx
from attrs import evolve

from pointsman.chat import Chunk
from pointsman.errors import Failure

from . import answer, chunks, envelope, exchange
from .calls import CallPieces
from .chunks import DONE, BadEvent
from .connection import broken, cut_short
from .decoding import BadBody
from .envelope import ServerError
from .exchange import Reply
from .sse import ErrorData, EventDecoder, EventTooLarge
from .untrusted import as_mapping

EVENT_STREAM = "text/event-stream"


def is_event_stream(response: httpx.Response) -> bool:
    """Whether the response is one, and not an answer or an error that came whole."""
    return response.is_success and response.headers.get("content-type", "").lower().startswith(EVENT_STREAM)


async def chunks_of(
    response: httpx.Response,
    sent: Mapping[str, Any],
    failure_of: Callable[[ServerError], Failure],
    *,
    max_body: int,
    max_event: int,
    role_once: bool,
) -> AsyncGenerator[Chunk | Reply | Failure, None]:
    """Every chunk of a stream; a failure is the last thing it gives. The only one is a reply where it is no stream."""
    decoder = EventDecoder(max_event)
    begun = False
    calls = CallPieces()
    one_answer = _OneAnswer(role_once=role_once)
    try:
        async with aclosing(exchange.pieces(response, max_body)) as pieces:
            async for piece in pieces:
                if not begun:
                    begun = bool(piece.strip())
                    if piece.lstrip().startswith(b"{"):  # no line of an event stream begins so
                        body = b"".join([piece, *[more async for more in pieces]])
                        yield Reply(status=response.status_code, headers=response.headers, body=body)
                        return
                for data in decoder.feed(piece):
                    if data == DONE:
                        await exchange.run_out(pieces)
                        return
                    body = chunks.parse(data)
                    choice = chunks.first_choice(body)
                    if error := _error_in(body, choice) or (isinstance(data, ErrorData) and answer.error_named(body)):
                        if told := body.get("usage"):
                            yield Chunk(usage=answer.usage(as_mapping(told)))  # what failed may cost all the same
                        failed = envelope.error_in_success(error, response.status_code, response.headers, sent)
                        yield failure_of(failed)
                        return
                    chunk = chunks.chunk_of(body, choice, calls)
                    if wrong := one_answer.broken_by(chunk, choice):
                        yield answer.unusable(wrong, response.status_code)
                        return
                    yield chunk
    except broken() as error:
        failure = cut_short(error)
    except (BadEvent, BadBody) as error:
        failure = answer.unusable(str(error), response.status_code)
    except EventTooLarge:
        failure = answer.unusable(f"an event is larger than max_event, {max_event} bytes", response.status_code)
    else:
        return
    yield evolve(failure, status=response.status_code)


def _error_in(body: Mapping[str, Any], choice: Mapping[str, Any]) -> object:
    """The error that an event carries, wherever it stands; None where there is none."""
    if (
        not choice
        or "error" in body
        or "error" in choice
        or choice.get("provider_specific_fields")
        or choice.get("finish_reason") == "error"
        or choice.get("native_finish_reason") in answer.FAILED
    ):
        return answer.error_inside(body)
    return None


class _OneAnswer:
    """Notices what does not belong to the answer so far: what comes after its end, or out of another one."""

    def __init__(self, *, role_once: bool) -> None:
        self._role_once = role_once
        self._names: tuple[str | None, str | None] = (None, None)
        self._begun = self._begun_again = self._ended = False

    def broken_by(self, chunk: Chunk, choice: Mapping[str, Any]) -> str | None:
        """What is wrong with the answer if this chunk is a piece of it; None where it is one."""
        says_something = chunk.has_content
        if self._ended:
            return "the answer went on after its end" if says_something else None
        if self._role_once and self._begun and as_mapping(choice.get("delta")).get("role"):
            self._begun_again = True
        if (says_something and self._begun_again) or not self._is_named_alike(chunk):
            return "another answer was spliced into this one"
        self._begun = self._begun or says_something
        self._ended = chunk.finish_reason is not None
        return None

    def _is_named_alike(self, chunk: Chunk) -> bool:
        """Whether id and model are those of the answer so far: what the chunk leaves out is no change."""
        known, told = self._names, (chunk.id, chunk.served_model)
        if told == known:
            return True
        self._names = known[0] or told[0], known[1] or told[1]
        return all(None in (was, now) or was == now for was, now in zip(known, told, strict=True))
