"""From the body of a 200 to a `Completion`, or to what is wrong with it."""

from collections.abc import Mapping
from typing import cast

from attrs import evolve

from pointsman.assembly import marked_where_cut, shortcoming
from pointsman.chat import JSON, Completion, Usage
from pointsman.errors import Failure, Kind

from . import envelope
from .calls import whole_calls
from .exchange import Reply
from .untrusted import EMPTY, as_amount, as_count, as_list, as_mapping, as_text, read_json

FAILED = ("error", "network_error")
"""The vendors' own words for an answer that broke."""
_TEXT_PARTS = {"text", "output_text"}


def parse(reply: Reply) -> Mapping[str, object] | Failure:
    """The body as an object, or the failure of an answer that is none. Nothing of it is quoted."""
    kind = reply.headers.get("content-type", "")
    if kind != "application/json" and not _is_json(kind.partition(";")[0].strip().lower()):
        return unusable("the answer is not JSON by its content type", reply.status)
    if not reply.body.strip():
        return unusable("the answer is empty", reply.status)
    try:
        body = read_json(reply.body)
    except (ValueError, RecursionError):
        return unusable("the answer is not JSON", reply.status)
    if not isinstance(body, dict):
        return unusable("the answer is not a JSON object", reply.status)
    return _unnested(cast("Mapping[str, object]", body))


def _is_json(kind: str) -> bool:
    # JSON under these names is still JSON; a web page is somebody else's answer.
    return not kind or "json" in kind or kind in {"text/plain", "text/event-stream", "application/octet-stream"}


def error_inside(body: Mapping[str, object], choice: Mapping[str, object]) -> object:
    """The error that a 200 carries, in its body or in its choice; None where there is none."""
    error = (
        body.get("error") or choice.get("error") or as_mapping(choice.get("provider_specific_fields")).get("error")
    ) or None
    if error is None and not choice:
        return envelope.itself_an_error(body)
    if error is None and (choice.get("finish_reason") == "error" or choice.get("native_finish_reason") in FAILED):
        return {"message": "the choice ended with an error"}
    return error


def error_named(body: Mapping[str, object]) -> object:
    """The error in the body of what is called one; the body itself where it names none."""
    return error_inside(body, choice_of(body)) or body or {"message": "an event said that it was an error"}


def completion(body: Mapping[str, object], choice: Mapping[str, object], status: int) -> Completion | Failure:
    """The answer that a body without an error holds, or the failure of an empty one."""
    if not choice:
        return unusable("the answer has no choices", status)
    message = as_mapping(choice.get("message"))
    finish = as_text(choice.get("finish_reason")) or as_text(choice.get("native_finish_reason")) or ""
    if not finish:
        return unusable("the answer has no finish reason", status)
    spoken = (cast("JSON", message["audio"]),) if message.get("audio") else ()
    answer = Completion(
        text=text_of(message.get("content")),
        finish_reason=finish,
        tool_calls=marked_where_cut(whole_calls(message), finish),
        reasoning=as_text(message.get("reasoning")) or as_text(message.get("reasoning_content")) or "",
        refusal=as_text(message.get("refusal")),
        images=images_of(message) + spoken,
        usage=usage(as_mapping(body.get("usage"))),
        id=as_text(body.get("id")),
        served_model=as_text(body.get("model")),
        provider=as_text(body.get("provider")),
        message=cast("Mapping[str, JSON]", message),
        raw=cast("Mapping[str, JSON]", body),
    )
    missing = shortcoming(answer)
    return evolve(missing, status=status) if missing else answer


def usage(told: Mapping[str, object]) -> Usage:
    """Token counts and cost. What the server does not say is None."""
    cost = told.get("cost")
    cost = None if cost is None or isinstance(cost, str) else as_amount(cost)
    return Usage(
        input_tokens=as_count(told.get("prompt_tokens")),
        output_tokens=as_count(told.get("completion_tokens")),
        reasoning_tokens=as_count(as_mapping(told.get("completion_tokens_details")).get("reasoning_tokens")),
        cached_tokens=as_count(as_mapping(told.get("prompt_tokens_details")).get("cached_tokens")),
        cost=cost,
        cost_source=None if cost is None else "usage.cost",
    )


def unusable(why: str, status: int, kind: Kind = "bad_response") -> Failure:
    """The failure of a 200 that is no answer."""
    return Failure.of(kind, why, status=status)


def generation_id(headers: Mapping[str, str]) -> str | None:
    """The id of the answer, where only a header has it."""
    return as_text(headers.get("x-generation-id"))


def _unnested(body: Mapping[str, object]) -> Mapping[str, object]:
    """The completion itself, which OpenRouter has been seen to put inside `provider`."""
    nested = as_mapping(body.get("provider"))
    return nested if as_list(nested.get("choices")) and not as_list(body.get("choices")) else body


def choice_of(body: Mapping[str, object]) -> Mapping[str, object]:
    """The first answer in a body or an event, wherever it stands there, or an empty object."""
    choices = as_list(body.get("choices"))
    if len(choices) == 1:  # nearly always
        return as_mapping(choices[0])
    if not choices:
        return EMPTY
    told = [as_mapping(choice) for choice in choices]
    return next((choice for choice in told if choice and not choice.get("index")), told[0])


def text_of(content: object) -> str:
    """Content as text: it is text already, or a list of parts."""
    if isinstance(content, str):
        return content
    parts = [as_mapping(part) for part in as_list(content)]
    return "".join(as_text(part.get("text")) or "" for part in parts if part.get("type", "text") in _TEXT_PARTS)


def images_of(message: Mapping[str, object]) -> tuple[JSON, ...]:
    """What the model drew, and what it spoke where that is a part of its content."""
    content, images = message.get("content"), message.get("images")
    if isinstance(content, str) and not images:
        return ()  # nearly always
    parts = [as_mapping(part) for part in as_list(content)]
    kinds = [(as_text(part.get("type")) or "", part) for part in parts]
    shown = [part for kind, part in kinds if "image" in kind or "audio" in kind]
    return cast("tuple[JSON, ...]", (*shown, *as_list(images)))
