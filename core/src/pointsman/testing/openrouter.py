"""Answers that speak as OpenRouter does: same fields, same headers, same oddities.

The shapes are those of https://openrouter.ai/docs and of what it was seen to send; the words are
whatever a script gives.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from .replies import SSE, Drop, Hang, Reply

CREATED = 1790000000
"""When every scripted answer says that it was made, so that two runs say the same."""

COMMENT = b": OPENROUTER PROCESSING\n\n"
"""What OpenRouter sends while a provider is still thinking, before and between events."""


def openrouter_answer(
    model: str,
    text: str | None,
    *,
    provider: str = "Nordlys",
    finish_reason: str = "stop",
    native_finish_reason: str | None = None,
    reasoning: str | None = None,
    tool_calls: Sequence[Mapping[str, Any]] | None = None,
    usage: Mapping[str, Any] | None = None,
    delay: float = 0.0,
) -> Reply:
    """A whole answer."""
    generation = generation_id(model, text)
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None, "reasoning": reasoning}
    if tool_calls:
        message["tool_calls"] = list(tool_calls)
    choice = {
        "index": 0,
        "logprobs": None,
        "finish_reason": finish_reason,
        "native_finish_reason": native_finish_reason or finish_reason,
        "message": message,
    }
    body = {
        "id": generation,
        "provider": provider,
        "model": model,
        "object": "chat.completion",
        "created": CREATED,
        "choices": [choice],
        "usage": usage or openrouter_usage(text),
    }
    return Reply(200, body, headers={"x-generation-id": generation}, delay=delay)


def openrouter_stream(
    model: str,
    pieces: Sequence[str],
    *,
    provider: str = "Nordlys",
    finish_reason: str = "stop",
    usage: Mapping[str, Any] | None = None,
    delay: float = 0.0,
    cut_after: int | None = None,
    then: Drop | Hang | None = None,
) -> SSE:
    """A streamed answer: comments, a role in every chunk, usage beside a repeated finish reason.

    `cut_after` ends it after so many pieces of text, with `then` in place of a proper end.
    """
    text = "".join(pieces)
    generation = generation_id(model, text)

    def event(content: str, finish: str | None = None, **more: Any) -> dict[str, Any]:
        choice = {
            "index": 0,
            "delta": {"role": "assistant", "content": content},
            "finish_reason": finish,
            "native_finish_reason": finish,
            "logprobs": None,
        }
        common = {"id": generation, "provider": provider, "model": model, "object": "chat.completion.chunk"}
        return common | {"created": CREATED, "choices": [choice]} | more

    events: list[Any] = [COMMENT, *(event(piece) for piece in pieces[:cut_after])]
    if cut_after is None:
        events += [event("", finish_reason), event("", finish_reason, usage=usage or openrouter_usage(text))]
    return SSE(events, delay=delay, done=cut_after is None, then=then, headers={"x-generation-id": generation})


def openrouter_usage(text: str | None, *, input_tokens: int = 42, cost: float = 0.0) -> dict[str, Any]:
    """The usage object, with a made-up count of one token for every four characters."""
    output_tokens = -(-len(text or "") // 4)
    return {
        "prompt_tokens": input_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
        "cost": cost,
        "is_byok": False,
        "prompt_tokens_details": {"cached_tokens": 0},
        "cost_details": {"upstream_inference_cost": None},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def openrouter_error(
    status: int,
    message: str,
    metadata: Mapping[str, Any] | None = None,
    *,
    headers: Mapping[str, str] | None = None,
    http_status: int | None = None,
) -> Reply:
    """An error. `http_status=200` hides it in a success, as happens once generation has begun."""
    error = {"message": message, "code": status} | ({"metadata": dict(metadata)} if metadata else {})
    return Reply(http_status or status, {"error": error, "user_id": "user_friday"}, headers=headers or {})


def free_tier_rate_limit(retry_after: int = 12, *, per_day: bool = False) -> Reply:
    """The account's allowance for all `:free` models is spent, for this minute or for this day."""
    limits = {
        "X-RateLimit-Limit": "50" if per_day else "20",
        "X-RateLimit-Remaining": "0",
        "X-RateLimit-Reset": str((CREATED + retry_after) * 1000),
    }
    message = f"Rate limit exceeded: free-models-per-{'day' if per_day else 'min'}."
    headers = limits | {"Retry-After": str(retry_after)}
    return openrouter_error(429, message, {"headers": limits, "provider_name": None}, headers=headers)


def provider_rate_limit(model: str, provider: str = "Nordlys", retry_after: int | None = None) -> Reply:
    """The provider behind one model is busy; other models are not concerned."""
    metadata = {"provider_name": provider, "raw": f"{model} is temporarily rate-limited upstream."}
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return openrouter_error(429, "Provider returned error", metadata, headers=headers)


def generation_id(model: str, text: str | None) -> str:
    """An id such as OpenRouter gives, the same for the same answer."""
    digest = hashlib.sha256(f"{model} {text}".encode()).hexdigest()
    return f"gen-{CREATED}-{digest[:20]}"
