"""One streamed answer: from the response to chunks, or to the failure that ends it."""

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing
from typing import Any

from attrs import evolve

from pointsman.chat import Chunk, Usage
from pointsman.errors import Failure

from . import answer, chunks, envelope, exchange
from .chunks import DONE, BadEvent, SoFar
from .connection import broken, cut_short
from .decoding import BadBody
from .envelope import ServerError
from .exchange import Reply
from .sse import ErrorData, EventDecoder, EventTooLarge, text_in
from .untrusted import as_mapping, as_text
from .way import Response

EVENT_STREAM = "text/event-stream"


def is_event_stream(response: Response) -> bool:
    """Whether the response is one, and not an answer or an error that came whole."""
    return exchange.is_success(response.status) and response.headers.get("content-type", "").lower().startswith(
        EVENT_STREAM
    )


async def chunks_of(
    response: Response,
    sent: Mapping[str, Any],
    failure_of: Callable[[ServerError], Failure],
    *,
    max_body: int,
    max_event: int,
    role_once: bool,
) -> AsyncGenerator[Reply | Iterable[Chunk | Failure], None]:
    """Every chunk of a stream, those together that came together; a failure is the last of them.

    Each is made when it is taken, so that few are there at one time. Nothing but a reply where it is no stream.
    """
    events = _Events(response, sent, failure_of, max_event=max_event, role_once=role_once)
    begun = False
    try:
        async with aclosing(exchange.pieces(response, max_body)) as pieces:
            async for piece in pieces:
                if not begun:
                    begun = bool(piece.strip())
                    if piece.lstrip().startswith(b"{"):  # no line of an event stream begins so
                        body = b"".join([piece, *[more async for more in pieces]])
                        yield Reply(status=response.status, headers=response.headers, body=body)
                        return
                yield events.feed(piece)
                if events.failed:
                    return
                if events.done:
                    break
            if ending := events.ending():
                yield (ending,)
            await exchange.run_out(pieces)
    except broken() as error:
        failure = cut_short(error)
    except BadBody as error:
        failure = answer.unusable(str(error), response.status)
    else:
        return
    yield (evolve(failure, status=response.status),)


class _Events:
    """What the events of one stream say, one after the other."""

    def __init__(
        self,
        response: Response,
        sent: Mapping[str, Any],
        failure_of: Callable[[ServerError], Failure],
        *,
        max_event: int,
        role_once: bool,
    ) -> None:
        self._max_event = max_event
        self._decoder = EventDecoder(max_event)
        self._response = response
        self._sent = sent
        self._failure_of = failure_of
        self._so_far = SoFar(role_once=role_once)
        self._answer = _OneAnswer(role_once=role_once)
        self._native_finish: str | None = None
        self._billed: Usage | None = None
        """What the answer that failed may cost all the same."""
        self.done = False
        """Whether nothing more is to be taken."""
        self.failed = False
        """Whether a failure was told."""

    def feed(self, piece: bytes) -> Iterator[Chunk | Failure]:
        """What the events say that end in these bytes; a failure is the last thing, and ends the stream."""
        too_large = None
        try:
            events = self._decoder.feed(piece)
        except EventTooLarge as error:
            events = error.before
            why = f"an event is larger than max_event, {self._max_event} bytes"
            too_large = answer.unusable(why, self._response.status)
        for data in events:
            if not data.startswith(b"{"):
                said = text_in(data).strip()
                if said == DONE:
                    self.done = True
                    return
                if not said:
                    continue
            told = self._read(data)
            if isinstance(told, Failure):
                self.failed = True
                if self._billed is not None:
                    yield Chunk(usage=self._billed)
                yield told
                return
            yield told
        if too_large is not None:
            self.failed = True
            yield too_large

    def _read(self, data: bytes) -> Chunk | Failure:
        """The chunk of one event, or what is wrong with it."""
        try:
            body = chunks.parse(data)
        except BadEvent as error:
            return answer.unusable(str(error), self._response.status)
        chunk = None if type(data) is ErrorData else chunks.text_chunk_of(body, self._so_far)
        says_whose = False
        if chunk is None:
            choice = answer.choice_of(body)
            if error := _error_in(body, choice) or (isinstance(data, ErrorData) and answer.error_named(body)):
                status, headers = self._response.status, self._response.headers
                if told := body.get("usage"):
                    self._billed = answer.usage(as_mapping(told))
                return self._failure_of(envelope.error_in_success(error, status, headers, self._sent))
            if (word := choice.get("native_finish_reason")) and not choice.get("index"):
                self._native_finish = as_text(word)
            says_whose = bool(as_mapping(choice.get("delta")).get("role"))
            chunk = chunks.chunk_of(body, choice, self._so_far)
        if wrong := self._answer.broken_by(chunk, says_whose=says_whose):
            return answer.unusable(wrong, self._response.status)
        return chunk

    def ending(self) -> Chunk | None:
        """The vendor's own word for the end, where the normal one never came. It is not for the middle of a stream."""
        return None if self._answer.ended or not self._native_finish else Chunk(finish_reason=self._native_finish)


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
        return answer.error_inside(body, choice)
    return None


class _OneAnswer:
    """Notices what does not belong to the answer so far: what comes after its end, or out of another one."""

    def __init__(self, *, role_once: bool) -> None:
        self._role_once = role_once
        self._id: str | None = None
        self._model: str | None = None
        self._begun = self._begun_again = False
        self.ended = False
        """Whether a finish reason was given."""

    def broken_by(self, chunk: Chunk, *, says_whose: bool) -> str | None:
        """What is wrong with the answer if this chunk is a piece of it; None where it is one."""
        if self.ended:
            return "the answer went on after its end" if chunk.has_content else None
        if says_whose and self._role_once and self._begun:
            self._begun_again = True
        named_anew = chunk.id != self._id or chunk.served_model != self._model
        if (named_anew and not self._is_named_alike(chunk)) or (self._begun_again and chunk.has_content):
            return "another answer was spliced into this one"
        self._begun = self._begun or chunk.has_content
        self.ended = chunk.finish_reason is not None
        return None

    def _is_named_alike(self, chunk: Chunk) -> bool:
        """Whether id and model are those of the answer so far: what the chunk leaves out is no change."""
        known, told = (self._id, self._model), (chunk.id, chunk.served_model)
        self._id, self._model = known[0] or told[0], known[1] or told[1]
        return all(None in (was, now) or was == now for was, now in zip(known, told, strict=True))
