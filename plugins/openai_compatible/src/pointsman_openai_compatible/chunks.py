"""From the events of a stream to `Chunk`s, or to what is wrong with them."""

import json
from collections.abc import Mapping
from typing import Any, cast

from pointsman.chat import JSON, NOTHING, Chunk, Completion, ToolCallDelta

from .answer import images_of, text_of, usage
from .calls import CallPieces, asked_for
from .untrusted import EMPTY, as_list, as_mapping, as_text

DONE = "[DONE]"
"""The data of the event after the last one. It proves nothing: proxies send it after failures too."""


class BadEvent(Exception):
    """An event that is no JSON object; the text says so, and quotes nothing."""


def parse(data: str) -> Mapping[str, Any]:
    """The event's JSON object."""
    try:
        body: object = json.loads(data)
    except (ValueError, RecursionError):
        raise BadEvent("an event of the stream is not JSON") from None
    if not isinstance(body, dict):
        raise BadEvent("an event of the stream is not a JSON object")
    return cast("Mapping[str, Any]", body)


def first_choice(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The choice that an event is about, or an empty object."""
    choices = as_list(body.get("choices"))
    return as_mapping(choices[0]) if choices else EMPTY


def chunk_of(body: Mapping[str, Any], choice: Mapping[str, Any], calls: CallPieces) -> Chunk:
    """What one event with this first choice adds to the answer, `calls` being its tool calls so far."""
    told = body.get("usage")
    usage_told = usage(as_mapping(told)) if told else None
    if not choice or choice.get("index"):
        return Chunk(usage=usage_told, raw=body)  # of several answers that were asked for, the first is the one
    delta = as_mapping(choice.get("delta") or choice.get("message"))
    content = delta.get("content")
    # Most of these stand in few chunks; what is empty needs no closer look.
    reasoning = delta.get("reasoning") or delta.get("reasoning_content")
    refusal, called = delta.get("refusal"), delta.get("tool_calls") or delta.get("function_call")
    images, details = delta.get("images"), delta.get("reasoning_details")
    audio, annotations = delta.get("audio"), delta.get("annotations")
    return Chunk(
        text=content if isinstance(content, str) else text_of(content),
        reasoning=reasoning if isinstance(reasoning, str) else "",
        refusal=refusal if isinstance(refusal, str) else "",
        tool_calls=calls.add(asked_for(delta)) if called else (),
        images=images_of(delta) if images or isinstance(content, list) else (),
        reasoning_details=_all_of(details) if details else (),
        audio=cast("Mapping[str, JSON]", as_mapping(audio)) if audio else NOTHING,
        annotations=_all_of(annotations) if annotations else (),
        finish_reason=as_text(choice.get("finish_reason")),
        usage=usage_told,
        id=as_text(body.get("id")),
        served_model=as_text(body.get("model")),
        provider=as_text(body.get("provider")),
        raw=body,
    )


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
