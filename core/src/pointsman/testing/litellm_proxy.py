"""Answers that speak as the LiteLLM proxy does, for where the real one is too large to start.

`relayed` turns an OpenRouter answer or error into what the proxy makes of it.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from json import dumps
from typing import Any

from .openrouter import CREATED, generation_id, openrouter_answer, openrouter_usage
from .replies import SSE, Drop, Hang, Reply

CALL_ID = "0f6a2b64-5d0c-4c39-9f35-7c2a3c1d8e90"
"""The call id of every scripted answer."""

CLASSES: Mapping[int, tuple[str, str]] = {
    400: ("BadRequestError", "invalid_request_error"),
    401: ("AuthenticationError", "authentication_error"),
    402: ("APIError", "invalid_request_error"),
    403: ("APIError", "permission_error"),
    404: ("NotFoundError", "invalid_request_error"),
    408: ("Timeout", "invalid_request_error"),
    413: ("APIError", "invalid_request_error"),
    422: ("BadRequestError", "invalid_request_error"),
    429: ("RateLimitError", "throttling_error"),
    500: ("APIError", "internal_server_error"),
    503: ("ServiceUnavailableError", "internal_server_error"),
    504: ("Timeout", "internal_server_error"),
}
"""LiteLLM's exception class and error type for a status of OpenRouter's; others are as 500."""


def litellm_answer(
    alias: str,
    text: str | None,
    *,
    served_by: str | None = None,
    attempted_retries: int = 0,
    delay: float = 0.0,
    **answer: Any,
) -> Reply:
    """A whole answer to `alias`. `served_by` names the group that the proxy fell back to."""
    upstream = openrouter_answer(alias.removeprefix("openrouter/"), text, **answer)
    reply = relayed(alias, upstream, served_by=served_by, attempted_retries=attempted_retries)
    return Reply(reply.status, reply.json, headers=reply.headers, delay=delay)


def relayed(alias: str, upstream: Reply, *, served_by: str | None = None, attempted_retries: int = 0) -> Reply:
    """What the proxy answers to `alias` when OpenRouter answered `upstream`."""
    provider_headers = {f"llm_provider-{name.lower()}": value for name, value in upstream.headers.items()}
    if "error" in upstream.json:
        hidden = upstream.status == HTTPStatus.OK
        status, said = (502, upstream.json["error"]["message"]) if hidden else (upstream.status, dumps(upstream.json))
        message = f"OpenrouterException - {said}\n\nLiteLLM: model group '{alias}' failed with the error above."
        return litellm_error(status, message, headers=provider_headers)
    body = dict(upstream.json)
    # Only where it fell back does the proxy leave the name that OpenRouter gave.
    body["model"] = upstream.json["model"] if served_by else alias
    body["choices"] = [relayed_choice(choice) for choice in body["choices"]]
    headers = litellm_headers(served_by or alias, attempted_retries, attempted_fallbacks=int(served_by is not None))
    if cost := body["usage"].get("cost"):
        headers["x-litellm-response-cost"] = str(cost)
    return Reply(200, body, headers=headers | provider_headers)


def relayed_choice(choice: Mapping[str, Any]) -> dict[str, Any]:
    """A choice with OpenRouter's own fields moved to where LiteLLM keeps them."""
    message = {key: value for key, value in choice["message"].items() if key != "reasoning" and value is not None}
    message["content"] = choice["message"]["content"]
    if reasoning := choice["message"].get("reasoning"):
        message |= {"reasoning_content": reasoning, "provider_specific_fields": {"reasoning": reasoning}}
    return {
        "finish_reason": choice["finish_reason"],
        "index": choice["index"],
        "message": message,
        "provider_specific_fields": {"native_finish_reason": choice["native_finish_reason"]},
    }


def litellm_stream(
    alias: str,
    pieces: Sequence[str],
    *,
    finish_reason: str = "stop",
    include_usage: bool = True,
    delay: float = 0.0,
    cut_after: int | None = None,
    then: Drop | Hang | None = None,
) -> SSE:
    """A streamed answer: no null finish reasons, usage in a chunk of its own, no cost in the headers.

    `cut_after` ends it after so many pieces of text, with `then` in place of a proper end.
    """
    text = "".join(pieces)
    common = {"id": generation_id(alias, text), "created": CREATED, "model": alias, "object": "chat.completion.chunk"}

    def event(delta: dict[str, Any], **more: Any) -> dict[str, Any]:
        return common | {"choices": [{"index": 0, "delta": delta} | more]}

    events = [event({"content": piece} | ({"role": "assistant"} if n == 0 else {})) for n, piece in enumerate(pieces)]
    if cut_after is None:
        # The empty delta is what the proxy makes of OpenRouter's repeated finish reason.
        events += [event({}, finish_reason=finish_reason), event({"role": "assistant", "content": ""})]
        if include_usage:
            events.append(event({}) | {"usage": openrouter_usage(text)})
    return SSE(events[:cut_after], delay=delay, done=cut_after is None, then=then, headers=litellm_headers(alias))


def litellm_headers(group: str, attempted_retries: int = 0, attempted_fallbacks: int = 0) -> dict[str, str]:
    """The headers of a success."""
    return {
        "x-litellm-call-id": CALL_ID,
        "x-litellm-model-id": generation_id(group, None).rpartition("-")[2],
        "x-litellm-model-name": group,
        "x-litellm-model-group": group,
        "x-litellm-version": "1.106.2",
        "x-litellm-attempted-retries": str(attempted_retries),
        "x-litellm-attempted-fallbacks": str(attempted_fallbacks),
    }


def litellm_error(
    status: int,
    message: str,
    *,
    error_class: str | None = None,
    error_type: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """A relayed error: `litellm.<Class>: message`, and the status again as a string."""
    usual_class, usual_type = CLASSES.get(status, CLASSES[500])
    return own_error(
        status, f"litellm.{error_class or usual_class}: {message}", error_type or usual_type, headers=headers
    )


def own_error(status: int, message: str, error_type: str, *, headers: Mapping[str, str] | None = None) -> Reply:
    """An error of the proxy itself, in its envelope."""
    error = {"message": message, "type": error_type, "param": None, "code": str(status)}
    common = {"x-litellm-call-id": CALL_ID, "x-litellm-response-cost": "0"}
    return Reply(status, {"error": error}, headers=common | dict(headers or {}))


def litellm_unknown_model(model: str) -> Reply:
    """The proxy's configuration has no such model."""
    return own_error(400, f"/chat/completions: Invalid model name passed in model={model}.", "invalid_request_error")


def no_db_connection() -> Reply:
    """What a proxy without a database says to a wrong key."""
    return own_error(400, "No connected db.", "no_db_connection")


def all_cooled(model: str, retry_after: int = 7) -> Reply:
    """Every deployment of the model is in cooldown."""
    message = f"No deployments available for selected model, Try again in {retry_after} seconds. Passed model={model}."
    return own_error(429, message, "all_deployments_in_cooldown", headers={"retry-after": str(retry_after)})
