"""Puts a streamed answer together, and says when a finished one is no answer.

One rule for whole and streamed answers: empty means no content, no refusal and no tool call. With reasoning only
and `stop` it is still empty; with `length` it is an answer.
"""

from collections.abc import Iterable, Mapping

from attrs import define, evolve, field

from .chat import JSON, NOTHING, Chunk, Completion, InnerAttempts, ToolCall, ToolCallDelta, Usage
from .errors import Failure

CUT_BY_LENGTH = frozenset({"length", "max_tokens", "max_output_tokens", "model_length"})
"""Finish reasons of an answer that ended because it was long enough."""

_COMPACT = 256
"""Pieces of text that are joined into one, so that memory holds the text and not its pieces."""


def shortcoming(answer: Completion) -> Failure | None:
    """Why a finished answer cannot be given to the caller, or None."""
    if answer.text or answer.tool_calls or answer.refusal or answer.images or answer.finish_reason in CUT_BY_LENGTH:
        return None
    if answer.finish_reason == "content_filter":
        return Failure.of("content_policy", "a content filter left nothing of the answer")
    return Failure.of("bad_response", "the answer says nothing")


def marked_where_cut(calls: tuple[ToolCall, ...], finish_reason: str) -> tuple[ToolCall, ...]:
    """The calls, the last one marked where the answer ended before the first argument of it."""
    if not calls or calls[-1].arguments or (finish_reason and finish_reason not in CUT_BY_LENGTH):
        return calls
    return (*calls[:-1], evolve(calls[-1], cut=True))


class _Text:
    """Text that grows."""

    def __init__(self) -> None:
        self._pieces: list[str] = []

    def add(self, piece: str) -> None:
        self._pieces.append(piece)
        if len(self._pieces) >= _COMPACT:
            self._pieces = ["".join(self._pieces)]

    def __str__(self) -> str:
        return "".join(self._pieces)


@define(eq=False)
class _GrowingCall:
    id: str | None = None
    name: str = ""
    arguments: _Text = field(factory=_Text)


class _GrowingBlock:
    """An object that comes in pieces. The fields in `growing` are texts whose pieces are concatenated."""

    def __init__(self, *growing: str) -> None:
        self._texts = {name: _Text() for name in growing}
        self._fields: dict[str, JSON] = {}

    def add(self, piece: Mapping[str, JSON]) -> None:
        for name, value in piece.items():
            if name in self._texts and isinstance(value, str):
                self._texts[name].add(value)
            elif value or name not in self._fields:
                self._fields[name] = value

    def whole(self) -> dict[str, JSON]:
        return self._fields | {name: text for name, one in self._texts.items() if (text := str(one))}


class _ReasoningBlocks:
    """Reasoning to be sent back in a tool loop: pieces of one block become one again, or its signature is void."""

    def __init__(self) -> None:
        self._blocks: list[JSON | _GrowingBlock] = []
        self._growing: dict[tuple[str, str], _GrowingBlock] = {}

    def add(self, pieces: Iterable[JSON]) -> None:
        for piece in pieces:
            self._add(piece)

    def _add(self, piece: JSON) -> None:
        kind = str(piece.get("type")) if isinstance(piece, Mapping) else ""
        if not isinstance(piece, Mapping) or kind not in _GROWING:
            self._blocks.append(piece)
            return
        place = (kind, str(piece.get("index")))
        if place not in self._growing:
            self._growing[place] = _GrowingBlock(_GROWING[kind])
            self._blocks.append(self._growing[place])
        self._growing[place].add(piece)

    def whole(self) -> list[JSON]:
        return [block.whole() if isinstance(block, _GrowingBlock) else block for block in self._blocks]


_GROWING = {"reasoning.text": "text", "reasoning.summary": "summary"}
"""The kinds of reasoning blocks that come in pieces, and what is in the pieces."""


class Assembly:
    """One streamed answer so far."""

    def __init__(self) -> None:
        self._text = _Text()
        self._reasoning = _Text()
        self._refusal = _Text()
        self._calls: dict[int, _GrowingCall] = {}
        self._images: list[JSON] = []
        self._audio: _GrowingBlock | None = None
        self._annotations: list[JSON] = []
        self._reasoning_blocks = _ReasoningBlocks()
        self._usage: Usage | None = None
        self._id: str | None = None
        self._call_id: str | None = None
        self._served_model: str | None = None
        self._provider: str | None = None
        self._inner: InnerAttempts | None = None
        self.finish_reason: str | None = None
        """The first one that was given: a later one, null or not, does not change it."""

    def add(self, chunk: Chunk) -> None:
        """Takes the next piece in."""
        if chunk.text:
            self._text.add(chunk.text)
        if chunk.reasoning:
            self._reasoning.add(chunk.reasoning)
        if chunk.refusal:
            self._refusal.add(chunk.refusal)
        if chunk.tool_calls:
            self._add_calls(chunk.tool_calls)
        if chunk.images:
            self._images += chunk.images
        if chunk.audio is not NOTHING:  # which is asked for its length in Python, and nearly every chunk's
            self._audio = self._audio or _GrowingBlock("data", "transcript")
            self._audio.add(chunk.audio)
        if chunk.annotations:
            self._annotations += chunk.annotations
        if chunk.reasoning_details:
            self._reasoning_blocks.add(chunk.reasoning_details)
        if self.finish_reason is None:
            self.finish_reason = chunk.finish_reason
        if chunk.usage is not None:
            self._usage = chunk.usage
        if chunk.inner is not None:
            self._inner = chunk.inner
        # The first of each name holds.
        self._id = self._id or chunk.id
        self._call_id = self._call_id or chunk.call_id
        self._served_model = self._served_model or chunk.served_model
        self._provider = self._provider or chunk.provider

    def _add_calls(self, deltas: Iterable[ToolCallDelta]) -> None:
        for delta in deltas:
            call = self._calls.setdefault(delta.index, _GrowingCall())
            call.id = call.id or delta.id
            call.name = call.name or delta.name or ""
            if delta.arguments:
                call.arguments.add(delta.arguments)

    def completion(self) -> Completion:
        """The answer so far. Its finish reason is empty where none was given yet."""
        calls = tuple(
            ToolCall(id=call.id, name=call.name, arguments=str(call.arguments))
            for _, call in sorted(self._calls.items())
        )
        calls = marked_where_cut(calls, self.finish_reason or "")
        audio = self._audio and self._audio.whole()
        text, reasoning, refusal = str(self._text), str(self._reasoning), str(self._refusal)
        return Completion(
            text=text,
            reasoning=reasoning,
            refusal=refusal or None,
            tool_calls=calls,
            images=(*self._images, *([audio] if audio else [])),
            finish_reason=self.finish_reason or "",
            usage=self._usage or Usage(),
            id=self._id,
            call_id=self._call_id,
            served_model=self._served_model,
            provider=self._provider,
            inner=self._inner,
            message=self._message(text, reasoning, refusal, calls, audio),
        )

    def _message(
        self, text: str, reasoning: str, refusal: str, calls: tuple[ToolCall, ...], audio: Mapping[str, JSON] | None
    ) -> Mapping[str, JSON]:
        message: dict[str, JSON] = {"role": "assistant", "content": text or None}
        if refusal:
            message["refusal"] = refusal
        if calls:
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in calls
            ]
        if self._images:
            message["images"] = self._images
        if audio:
            message["audio"] = audio
        if self._annotations:
            message["annotations"] = self._annotations
        if reasoning:
            message["reasoning"] = reasoning
        if blocks := self._reasoning_blocks.whole():
            message["reasoning_details"] = blocks
        return message
