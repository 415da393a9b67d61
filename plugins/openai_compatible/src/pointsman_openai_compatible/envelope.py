"""What a server says about a failed call, out of whichever envelope it used.

Known: OpenAI's and OpenRouter's `{"error": {...}}`, LiteLLM's with a code that is text, FastAPI's
`{"detail": ...}`, vLLM's `{"object": "error", ...}`, Ollama's `{"error": "..."}`, Google's
`[{"error": {...}}]`; anything else is a page of something that stands before the server.
"""

import re
from collections.abc import Mapping

from attrs import define, field

from .sse import EventDecoder, EventTooLarge
from .untrusted import EMPTY, as_list, as_mapping, read_json

_STATUS_OF_WORD = {
    word: status
    for status, words in {
        400: "invalid_request invalid_request_error invalid_prompt bad_request context_length_exceeded "
        "max_tokens_exceeded token_limit_exceeded string_too_long content_policy_violation content_filter refusal "
        "invalid_image image_too_large image_too_small unsupported_image_format image_not_found "
        "image_download_failed precondition_failed",
        401: "authentication authentication_error auth_error invalid_api_key unauthorized",
        402: "payment_required insufficient_quota insufficient_credits budget_exceeded",
        403: "permission_denied permission_error forbidden",
        404: "not_found not_found_error model_not_found",
        408: "timeout timeout_error request_timeout",
        413: "payload_too_large",
        422: "unprocessable",
        429: "rate_limit_exceeded rate_limit_error throttling_error too_many_requests rate_limit",
        502: "provider_unavailable",
        503: "provider_overloaded overloaded overloaded_error service_unavailable",
    }.items()
    for word in words.split()
}
_STATUS = re.compile("[1-5][0-9]{2}")
_FIRST_ERROR, _LAST_ERROR = 400, 599


@define(kw_only=True)
class ServerError:
    """A failed call as the server tells it. Not for people: it is not scrubbed."""

    http_status: int
    status: int
    """What went wrong as an HTTP status: the error's own code where the response is a 200."""
    headers: Mapping[str, str] = field(repr=False)
    enveloped: bool
    """Whether the server itself speaks, not a page of something in between."""
    message: str = field(default="", repr=False)
    error: Mapping[str, object] = field(default=EMPTY, repr=False)
    """The error object, or an empty one."""
    sent: Mapping[str, object] = field(default=EMPTY, repr=False)
    """The body that the server was sent."""

    @property
    def words(self) -> tuple[str, ...]:
        """Code and types that are words, the most telling one first."""
        told, inner = self.error.get, self.metadata.get
        given = (told("code"), told("type"), inner("error_type"), told("error_type"), told("status"))
        return tuple([one for one in given if isinstance(one, str) and one and not one.isdigit() and one != "None"])

    @property
    def metadata(self) -> Mapping[str, object]:
        """OpenRouter's details, or an empty object."""
        return as_mapping(self.error.get("metadata"))


def error_of_reply(status: int, headers: Mapping[str, str], body: bytes, sent: Mapping[str, object]) -> ServerError:
    """The error in a response whose status says that there is one."""
    error = _enveloped(_parsed(body) or _first_event(body))
    return ServerError(
        http_status=status,
        status=status,
        headers=headers,
        enveloped=error is not None,
        message=_message(error or EMPTY),
        error=error or EMPTY,
        sent=sent,
    )


def error_in_success(error: object, status: int, headers: Mapping[str, str], sent: Mapping[str, object]) -> ServerError:
    """The error that a 200 carries in its body or in a choice."""
    told = as_mapping(error) or {"message": error}
    return ServerError(
        http_status=status,
        status=_inner_status(told),
        headers=headers,
        enveloped=True,
        message=_message(told),
        error=told,
        sent=sent,
    )


def _parsed(body: bytes | str) -> object:
    try:
        return read_json(body)
    except (ValueError, RecursionError):
        return None


def _first_event(body: bytes) -> object:
    """What the first event says of a body that is a stream: proxies answer one with a stream though it has failed."""
    try:
        events = EventDecoder(len(body) + 1).feed(body + b"\n\n")
    except EventTooLarge:
        return None
    return next((told for data in events if (told := _parsed(data)) is not None), None)


def _enveloped(body: object) -> Mapping[str, object] | None:
    """The error object of a known envelope, or None."""
    told = as_mapping(next(iter(as_list(body)), body))
    if error := as_mapping(told.get("error")):
        return error
    if "error" in told:
        return {**told, "message": told["error"]}
    return itself_an_error(told)


def itself_an_error(told: Mapping[str, object]) -> Mapping[str, object] | None:
    """The error of an object that has it under no name `error`: FastAPI's or vLLM's; None where there is none."""
    if "detail" in told:
        return {"message": told["detail"], **as_mapping(told["detail"])}
    return told if told.get("object") == "error" else None


def _message(error: Mapping[str, object]) -> str:
    message = error.get("message")
    return message if isinstance(message, str) else ""


def _inner_status(error: Mapping[str, object]) -> int:
    """The error's own code; failing that what its words mean; failing that 500."""
    metadata = as_mapping(error.get("metadata"))
    for code in (error.get("code"), error.get("http_status"), error.get("status"), metadata.get("http_status")):
        number = int(code) if isinstance(code, str) and _STATUS.fullmatch(code) else code
        if isinstance(number, int) and _FIRST_ERROR <= number <= _LAST_ERROR:
            return number
    words = (error.get("code"), metadata.get("error_type"), error.get("error_type"), error.get("type"))
    known = (_STATUS_OF_WORD.get(word.lower()) for word in words if isinstance(word, str))
    return next((status for status in known if status), 500)
