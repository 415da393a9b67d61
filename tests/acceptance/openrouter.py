"""OpenRouter as the acceptance workload meets it: one account, reached directly and through the proxy."""

from collections.abc import Callable, Mapping
from itertools import count

from pointsman.testing import Answer, ReceivedRequest, free_tier_rate_limit, openrouter_answer, openrouter_usage

COST = 0.0012
"""US dollars for an answer of a model that is not free."""


def account(
    *, free_requests: float = float("inf"), retry_after: int = 12, instead: Mapping[str, Answer] | None = None
) -> Callable[[ReceivedRequest], Answer]:
    """A script that several servers play at once: what the account's free tier allows is shared by them.

    `retry_after` is what it asks for when that is spent, in seconds. `instead` has the answer of each model
    that does not simply answer.
    """
    free = count(1)

    def answer(request: ReceivedRequest) -> Answer:
        model = str(request.model)
        if instead and model in instead:
            return instead[model]
        if model.endswith(":free") and next(free) > free_requests:
            return free_tier_rate_limit(retry_after)
        text = said(model, request.json["messages"][-1]["content"])
        cost = 0.0 if model.endswith(":free") else COST
        return openrouter_answer(model, text, usage=openrouter_usage(text, cost=cost))

    return answer


def said(model: str, prompt: str) -> str:
    """What a model answers: no two models, and no two prompts, get the same."""
    return f"Kære kunde, her er svaret på »{prompt}«. Venlig hilsen {model}"
