"""One streamed answer: from the response to chunks, or to the failure that ends it."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any

import httpx
from attrs import evolve

from pointsman.chat import Chunk
from pointsman.errors import Failure

from . import answer, chunks, envelope, exchange
from .chunks import DONE, BadEvent
from .connection import broken, cut_short
from .decoding import BadBody
from .envelope import ServerError
from .sse import EventDecoder, EventTooLarge
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
) -> AsyncGenerator[Chunk | Failure, None]:
    """Every chunk of a stream; a failure is the last thing it gives."""
    decoder = EventDecoder(max_event)
    same_answer = _SameAnswer()
    try:
        async with aclosing(exchange.pieces(response, max_body)) as pieces:
            async for piece in pieces:
                for data in decoder.feed(piece):
                    if data == DONE:
                        continue  # read on to the end, so that the connection can be used again
                    body = chunks.parse(data)
                    choice = chunks.first_choice(body)
                    if error := _error_in(body, choice):
                        if told := body.get("usage"):
                            yield Chunk(usage=answer.usage(as_mapping(told)))  # what failed may cost all the same
                        failed = envelope.error_in_success(error, response.status_code, response.headers, sent)
                        yield failure_of(failed)
                        return
                    chunk = chunks.chunk_of(body, choice)
                    if not same_answer.goes_on(chunk):
                        yield answer.unusable("another answer was spliced into this one", response.status_code)
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
        "error" in body
        or "error" in choice
        or choice.get("provider_specific_fields")
        or choice.get("finish_reason") == "error"
        or choice.get("native_finish_reason") in answer.FAILED
    ):
        return answer.error_inside(body)
    return None


class _SameAnswer:
    """Notices when a proxy goes on with another model's answer: id or model change between chunks with choices."""

    def __init__(self) -> None:
        self._known: tuple[str | None, str | None] = (None, None)

    def goes_on(self, chunk: Chunk) -> bool:
        """Whether the chunk belongs to the answer so far: what it leaves out is no change."""
        known, told = self._known, (chunk.id, chunk.served_model)
        if told == known:
            return True
        self._known = known[0] or told[0], known[1] or told[1]
        return all(None in (was, now) or was == now for was, now in zip(known, told, strict=True))
