"""What the LiteLLM proxy's errors mean, and what its headers say.

Type and code of a proxy error tell little: a prompt that is too long, a timeout and a bad parameter
are all `invalid_request_error`. The text tells: an error of the model behind starts with the class
that LiteLLM gave it, `litellm.RateLimitError: ...`.
"""

import re
from collections.abc import Mapping

from attrs import evolve

from pointsman.chat import Chunk, Completion, InnerAttempts
from pointsman_openai_compatible import Diagnosis, ServerError
from pointsman_openai_compatible.untrusted import as_amount

COST_HEADER = "x-litellm-response-cost"
CALL_HEADER = "x-litellm-call-id"

_ABOUT_THE_GROUP = "\n\nLiteLLM:"
_CLASS = re.compile(r"(?:litellm\.)?([A-Z]\w*(?:Error|Timeout|Exception)|Timeout): ")
_FIRST_ERROR, _TIMEOUT, _TOO_MANY = 400, 408, 429


def own_words(message: str) -> str:
    """The message without what the proxy adds about its model groups.

    That part names other groups, and quotes the error of an inner fallback, which must not decide.
    """
    return message.partition(_ABOUT_THE_GROUP)[0]


def relayed(error: ServerError) -> bool:
    """Whether the model behind the proxy failed, not the proxy."""
    # What stands inside a 200 was said by whoever began to answer.
    return error.message.startswith("litellm.") or error.http_status < _FIRST_ERROR


def special(error: ServerError) -> Diagnosis | None:
    """What only LiteLLM says in its way; None leaves the error to the general rules."""
    return _of_the_model(error) if relayed(error) else _of_the_proxy(error)


def _of_the_model(error: ServerError) -> Diagnosis | None:
    classes = _classes(error.message)
    if "ContextWindowExceededError" in classes:
        return Diagnosis("context_length")
    if "ContentPolicyViolationError" in classes:
        return Diagnosis("content_policy")
    match error.status:
        case 408 if "timeout" in error.sent:
            # The limit was ours, so it says nothing about the model.
            return Diagnosis("timeout", "model", "neutral")
        case 404 if "No endpoints found that" in error.message or "data policy" in error.message:
            return Diagnosis("not_found", "model", "neutral")
        case 429 if "free-models-per-" in error.message or "openrouter_free_tier" in error.message:
            return Diagnosis("rate_limit", "quota")
        case _:
            return None


def _of_the_proxy(error: ServerError) -> Diagnosis | None:
    words = error.words
    if "no_db_connection" in words:
        # A proxy without a database answers so to every key that is not its master key.
        return Diagnosis("auth")
    if "budget_exceeded" in words:
        return Diagnosis("payment")
    if any(word.endswith("_model_access_denied") for word in words):
        return Diagnosis("auth", "model")
    if error.status == _TOO_MANY and (
        "all_deployments_in_cooldown" in words or error.message.startswith("No deployments available")
    ):
        return Diagnosis("rate_limit", "model")
    if error.status == _TIMEOUT and "timeout" in error.sent:
        return Diagnosis("timeout", "model", "neutral")
    return None


def _classes(message: str) -> set[str]:
    """The classes at the start of a message: `litellm.BadRequestError: ContextWindowExceededError: ...`."""
    classes: set[str] = set()
    position = 0
    while found := _CLASS.match(message, position):
        classes.add(found[1])
        position = found.end()
    return classes


def with_headers(completion: Completion, headers: Mapping[str, str]) -> Completion:
    """The answer with the proxy's call id, its inner attempts, and its cost where the body has none."""
    usage = completion.usage
    cost = as_amount(headers.get(COST_HEADER))
    if usage.cost is None and cost is not None:
        usage = evolve(usage, cost=cost, cost_source=COST_HEADER)
    return evolve(completion, usage=usage, call_id=headers.get(CALL_HEADER), inner=_inner(headers))


def opening(headers: Mapping[str, str]) -> Chunk:
    """What the headers of a stream say. They come before the answer, so they have no cost."""
    return Chunk(call_id=headers.get(CALL_HEADER), inner=_inner(headers))


def _inner(headers: Mapping[str, str]) -> InnerAttempts | None:
    retries = _count(headers.get("x-litellm-attempted-retries"))
    fallbacks = _count(headers.get("x-litellm-attempted-fallbacks"))
    group = headers.get("x-litellm-model-group") or None
    if retries is None and fallbacks is None and group is None:
        return None
    return InnerAttempts(retries=retries, fallbacks=fallbacks, model_group=group)


def _count(value: str | None) -> int | None:
    return int(value) if value and value.isascii() and value.isdigit() and len(value) < 10 else None  # noqa: PLR2004
