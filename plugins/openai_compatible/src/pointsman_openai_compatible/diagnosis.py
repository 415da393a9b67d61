"""What a server's error means: its kind, and what it blames.

The rules that hold for every OpenAI-style server. A backend with a dialect of its own asks its own
rules first, and says of each error whether it was relayed from a provider further behind.
"""

import re

from attrs import define

from pointsman.errors import Blame, BreakerEffect, Kind

from .envelope import ServerError


@define(unsafe_hash=True)
class Diagnosis:
    """What went wrong. Blame and breaker effect are the failure table's unless given."""

    kind: Kind
    blames: Blame | None = None
    breaker: BreakerEffect | None = None


_TOO_LONG = re.compile(
    r"maximum context length|context[ _]?(?:length|window)[ _]?(?:is |was |has been )?exceeded|ContextWindowExceeded"
    r"|exceeds? (?:the )?(?:model'?s? )?(?:maximum |available )?context|prompt is too long|input is too long"
    r"|token limit reached",
    re.IGNORECASE,
)
_POLICY = re.compile(
    r"content[ _]policy|ContentPolicyViolation|content management policy|responsible ?ai ?policy|safety system",
    re.IGNORECASE,
)
_UNKNOWN_MODEL = re.compile(
    r"is not a valid model|invalid model name|unknown model|model [^ ]{1,200} (?:does not exist|not found)",
    re.IGNORECASE,
)
_TOO_LONG_WORDS = {"context_length_exceeded", "token_limit_exceeded"}
_POLICY_WORDS = {"content_policy_violation", "content_filter", "content_policy", "refusal", "moderation_blocked"}
_UNKNOWN_MODEL_WORDS = {"model_not_found"}
_REJECTED = (400, 413, 422)
_NOT_NOW = (408, 409, 425)
_FIRST_CLIENT_ERROR, _FIRST_SERVER_ERROR = 400, 500


def diagnose(error: ServerError, *, relayed: bool) -> Diagnosis:
    """The meaning of an error; `relayed` where a provider behind the backend spoke, not the backend itself."""
    return _by_content(error) or _by_status(error, relayed=relayed)


def _by_content(error: ServerError) -> Diagnosis | None:
    """What an error says about the prompt, the model or the money, whatever its status is."""
    if error.status >= _FIRST_SERVER_ERROR:
        return None
    words = {word.lower() for word in error.words}
    # Text can quote the request, so it counts only where the status leaves the question open.
    text = error.message if error.status in _REJECTED else ""
    if words & _TOO_LONG_WORDS or _TOO_LONG.search(text):
        return Diagnosis("context_length")
    if words & _POLICY_WORDS or _POLICY.search(text):
        return Diagnosis("content_policy")
    if words & _UNKNOWN_MODEL_WORDS or _UNKNOWN_MODEL.search(text):
        return Diagnosis("not_found")
    if "insufficient_quota" in words:
        return Diagnosis("payment")
    return None


def _by_status(error: ServerError, *, relayed: bool) -> Diagnosis:
    match error.status:
        case status if status >= _FIRST_SERVER_ERROR or status in _NOT_NOW:
            return Diagnosis("server", "model" if error.enveloped else "backend")
        case status if status < _FIRST_CLIENT_ERROR:
            # A redirect is not followed: it would carry key and prompt to another address.
            return Diagnosis("bad_response", "backend")
        case 400 | 413 | 422:
            return Diagnosis("bad_request", "model" if relayed else "request")
        case 402:
            return Diagnosis("payment", "model" if relayed else "backend")
        case 403 if _about_a_field(error) and not relayed:
            return Diagnosis("bad_request")
        case 401 | 403:
            return Diagnosis("auth", "model" if relayed else "backend")
        case 404 | 410:
            # Without the server's own words, or with a framework's, the address is wrong and not the model.
            unknown_path = not error.enveloped or error.message == "Not Found"
            return Diagnosis("not_found", "backend" if unknown_path else "model")
        case 429:
            return Diagnosis("rate_limit", "model" if relayed else "quota")
        case _:
            # A client error that nobody expects: another model may well take the request.
            return Diagnosis("bad_request", "model")


def _about_a_field(error: ServerError) -> bool:
    """Whether the error names a field that the request set, such as one that the key may not use."""
    param = error.error.get("param")
    return isinstance(param, str) and param.partition(".")[0] in error.sent
