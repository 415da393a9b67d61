"""From what a server said to the `Failure` that the router reads: our words, and its own scrubbed."""

import re

from pointsman.errors import Failure, Kind

from .diagnosis import Diagnosis
from .envelope import ServerError
from .scrub import Scrubber
from .untrusted import as_text

_WHAT: dict[Kind, str] = {
    "auth": "the credentials were refused",
    "payment": "no credit or budget left",
    "rate_limit": "rate limit",
    "not_found": "no such model, or nothing that can serve this request",
    "server": "the server failed",
    "timeout": "the server gave up waiting",
    "bad_response": "the answer cannot be used",
    "bad_request": "the request was rejected",
    "context_length": "the prompt is too long for this model",
    "content_policy": "refused by a content policy",
}
_PLAIN_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][\w .&/-]{0,63}", re.ASCII)


def describe(error: ServerError, found: Diagnosis, scrub: Scrubber, *, retry_after: float | None) -> Failure:
    """The failure, with nothing in it that stands in the request or is a key."""
    provider = provider_of(error, scrub)
    code = _code(error, scrub)
    said = [f"HTTP {error.http_status}"]
    said += [f"code {code}"] if code and code != str(error.http_status) else []
    said += [f"provider {provider}"] if provider else []
    return Failure.of(
        found.kind,
        f"{_WHAT.get(found.kind, 'failed')} ({', '.join(said)})",
        blames=found.blames,
        breaker=found.breaker,
        detail=scrub(error.message),
        status=error.http_status,
        code=code,
        retry_after=retry_after,
        provider=provider,
    )


def provider_of(error: ServerError, scrub: Scrubber) -> str | None:
    """Who failed behind the backend, where the error names somebody plausibly."""
    name = as_text(error.metadata.get("provider_name"))
    return name if name and _PLAIN_NAME.fullmatch(name) and scrub.keeps(name) else None


def _code(error: ServerError, scrub: Scrubber) -> str | None:
    for word in error.words:
        if _is_plain(word, scrub):
            return word
    number = error.error.get("code")
    if not isinstance(number, int | str) or isinstance(number, bool):
        return None
    return word if _is_plain(word := str(number), scrub) else None


def _is_plain(word: str, scrub: Scrubber) -> bool:
    return bool(_PLAIN_CODE.fullmatch(word)) and scrub.keeps(word)
