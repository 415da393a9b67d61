"""From the events of a stream to `Chunk`s, or to what is wrong with them."""

import json
from collections.abc import Mapping
from typing import Any, cast

from pointsman.chat import JSON, NOTHING, Chunk, Completion, ToolCallDelta, chunk_of_fields

from .answer import images_of, text_of, usage
from .calls import CallPieces, asked_for
from .sse import text_in
from .untrusted import as_list, as_mapping, as_text, read_json

DONE = "[DONE]"
"""The data of the event after the last one. It proves nothing: proxies send it after failures too."""

_PLAIN = frozenset({"role", "content"})
"""What most pieces of an answer have and nothing else."""

_FIRST_HALF = ("\ud800", "\udbff")
"""The surrogates that stand first in a pair are from here to there."""


class BadEvent(Exception):
    """An event that is no JSON object; the text says so, and quotes nothing."""


def parse(data: bytes) -> Mapping[str, Any]:
    """The event's JSON object, as `json.loads` reads it."""
    try:
        body = read_json(data, _replacing)
    except (ValueError, RecursionError):
        raise BadEvent("an event of the stream is not JSON") from None
    if not isinstance(body, dict):
        raise BadEvent("an event of the stream is not a JSON object")
    return body  # pyright: ignore[reportUnknownVariableType] - `cast` is a call


def _replacing(data: bytes) -> object:
    return json.loads(text_in(data))


class Halves:
    """Text whose pieces were cut in the middle of a character, as JavaScript counts them."""

    def __init__(self) -> None:
        self.half = ""
        """What waits for the next piece."""

    def whole(self, piece: str) -> str:
        """The piece with the first half of its first character, which came before, and without that of its last one."""
        if not piece or not (self.half or _FIRST_HALF[0] <= piece[-1] <= _FIRST_HALF[1]):
            return piece
        text = (self.half + piece).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        self.half = text[-1] if _FIRST_HALF[0] <= text[-1] <= _FIRST_HALF[1] else ""
        return text.removesuffix(self.half) if self.half else text


class SoFar:
    """What has to be known of the events before to read the next one."""

    def __init__(self, *, role_once: bool) -> None:
        self.plain = _PLAIN - {"role"} if role_once else _PLAIN
        """All that a piece may have which is nothing but text."""
        self.calls = CallPieces()
        self.text = Halves()
        self.reasoning = Halves()
        self._told: tuple[object, ...] = ()
        self._fields = vars(Chunk())

    def fields(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a chunk that says whose it is: its id, its model and who runs it, nearly always as before."""
        told = (body.get("id"), body.get("model"), body.get("provider"))
        if told != self._told:
            self._told = told
            name, model, provider = map(as_text, told)
            # Unpacked, for the dict of an object shares its names with others, and 3.11 is slow to read one of those.
            self._fields = {**vars(Chunk(id=name, served_model=model, provider=provider))}
        return self._fields.copy()


def text_chunk_of(body: Mapping[str, Any], so_far: SoFar) -> Chunk | None:
    """The chunk of an event that is a piece of text and nothing else, as nearly all are; None where it may be more."""
    try:
        [choice] = body["choices"]
        delta = choice["delta"]
        text = delta["content"]
    except (KeyError, TypeError, ValueError):
        return None
    if (
        isinstance(text, str)
        and text[-1:] < _FIRST_HALF[0]
        and not so_far.text.half
        and so_far.plain.issuperset(delta)
        and choice.get("finish_reason") is None
        and choice.get("native_finish_reason") is None
        and "error" not in choice
        and "error" not in body
        and not choice.get("provider_specific_fields")
        and not choice.get("index")
        and not body.get("usage")
    ):
        fields = so_far.fields(body)
        fields["text"] = text
        fields["raw"] = body
        return chunk_of_fields(fields)
    return None


def chunk_of(body: Mapping[str, Any], choice: Mapping[str, Any], so_far: SoFar) -> Chunk:
    """What one event with this first choice adds to the answer."""
    told = body.get("usage")
    usage_told = usage(as_mapping(told)) if told else None
    if not choice or choice.get("index"):
        return Chunk(usage=usage_told, raw=body)  # of several answers that were asked for, the first is the one
    delta = as_mapping(choice.get("delta") or choice.get("message"))
    fields = so_far.fields(body)
    fields["text"] = so_far.text.whole(text_of(delta.get("content")))
    fields["finish_reason"] = as_text(choice.get("finish_reason"))
    fields["usage"] = usage_told
    fields["raw"] = body
    return chunk_of_fields(fields | _more_of(delta, so_far))


def _more_of(delta: Mapping[str, object], so_far: SoFar) -> dict[str, Any]:
    """What few pieces have beside text. What is empty needs no closer look."""
    reasoning = delta.get("reasoning") or delta.get("reasoning_content")
    refusal, called = delta.get("refusal"), delta.get("tool_calls") or delta.get("function_call")
    audio, annotations, details = delta.get("audio"), delta.get("annotations"), delta.get("reasoning_details")
    return {
        "reasoning": so_far.reasoning.whole(reasoning) if isinstance(reasoning, str) else "",
        "refusal": refusal if isinstance(refusal, str) else "",
        "tool_calls": so_far.calls.add(asked_for(delta)) if called else (),
        "images": images_of(delta),
        "reasoning_details": _all_of(details) if details else (),
        "audio": as_mapping(audio) if audio else NOTHING,
        "annotations": _all_of(annotations) if annotations else (),
    }


def chunk_of_whole(answer: Completion) -> Chunk:
    """An answer that came whole although a stream was asked for, as one piece."""
    message = answer.message
    calls = [
        ToolCallDelta(index=index, id=call.id, name=call.name, arguments=call.arguments)
        for index, call in enumerate(answer.tool_calls)
    ]
    return Chunk(
        text=answer.text,
        reasoning=answer.reasoning,
        refusal=answer.refusal or "",
        tool_calls=tuple(calls),
        images=images_of(message),
        reasoning_details=_all_of(message.get("reasoning_details")),
        audio=cast("Mapping[str, JSON]", as_mapping(message.get("audio"))),
        annotations=_all_of(message.get("annotations")),
        finish_reason=answer.finish_reason or None,
        usage=answer.usage,
        id=answer.id,
        call_id=answer.call_id,
        served_model=answer.served_model,
        provider=answer.provider,
        inner=answer.inner,
        raw=answer.raw,
    )


def _all_of(told: object) -> tuple[JSON, ...]:
    return tuple(cast("list[JSON]", as_list(told)))
