"""What OpenRouter's errors mean, and what it says of a key.

Its message is often only "Provider returned error"; what happened stands in `metadata`: the
provider, its own text as `raw`, errors of earlier providers, and whose limit was reached.
"""

import json
import re
from collections.abc import Mapping

from attrs import evolve

from pointsman_openai_compatible import Diagnosis, ServerError
from pointsman_openai_compatible.retry_after import until_reset
from pointsman_openai_compatible.untrusted import as_amount, as_list, as_mapping, as_text

_RELAYED = "Provider returned error"
_RESET = "x-ratelimit-reset"
_FIRST_ERROR = 400
_CONSTRAINED = re.compile(
    r"no (?:endpoints|providers?)(?: \w+)? (?:that|matching|available)|no allowed providers|data policy|guardrail"
    r"|requested parameters",
    re.IGNORECASE,
)
_BUDGET = re.compile(r"(?:key|spend\w*|credit|weekly|daily|monthly|total) limit|budget|limit exceeded", re.IGNORECASE)
_MODERATED = ("reasons", "flagged_input", "patterns")


def relayed(error: ServerError) -> bool:
    """Whether a provider failed, not OpenRouter."""
    if (as_text(error.metadata.get("limit_source")) or "").startswith("openrouter"):
        return False
    # What stands inside a 200 was said by whoever began to answer.
    return (
        error.message.startswith(_RELAYED)
        or as_text(error.metadata.get("provider_name")) is not None
        or error.http_status < _FIRST_ERROR
    )


def special(error: ServerError) -> Diagnosis | None:
    """What only OpenRouter says in its way; None leaves the error to the general rules."""
    match error.status:
        case 402:
            # Credit that does not cover this model's longest answer can cover another's, or a free one.
            return Diagnosis("payment", "model")
        case 403 if any(error.metadata.get(key) for key in _MODERATED):
            return Diagnosis("content_policy")
        case 403 if _BUDGET.search(error.message) and not relayed(error):
            return Diagnosis("payment")
        case 404 if error.enveloped and _CONSTRAINED.search(error.message):
            # Nothing serves this request's tools, parameters or data policy. The model itself is there.
            return Diagnosis("not_found", "model", "neutral")
        case 429 if "free-models-per-" in error.message:
            return Diagnosis("rate_limit", "quota")
        case _:
            return None


def in_full(error: ServerError) -> ServerError:
    """The error with everything that was said about it in its message, providers' texts included."""
    earlier = (as_mapping(one).get("message") for one in as_list(error.metadata.get("previous_errors")))
    texts = (error.message, _raw(error.metadata), *(text for one in earlier if (text := as_text(one))))
    return evolve(error, message="\n".join(text for text in texts if text))


def until_limit_resets(error: ServerError) -> float | None:
    """Seconds until OpenRouter's own limit is lifted, from the header or from its copy in the body."""
    copied = {name.lower(): value for name, value in as_mapping(error.metadata.get("headers")).items()}
    return until_reset(error.headers.get(_RESET) or copied.get(_RESET), error.headers)


def _raw(metadata: Mapping[str, object]) -> str:
    """The provider's own answer: a text, JSON as a text, or an object."""
    raw = metadata.get("raw")
    return raw if isinstance(raw, str) else json.dumps(raw) if raw else ""


def of_key(body: Mapping[str, object]) -> str:
    """That a key is good, and what is left of its limit."""
    left = as_amount(as_mapping(body.get("data")).get("limit_remaining"))
    return "takes the key" + ("" if left is None else f", ${left:.2f} left of its limit")
