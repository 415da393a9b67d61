"""The free tier's allowance is spent, whichever way it is reached."""

from time import monotonic

import pytest

from pointsman import Router
from pointsman.errors import AllTargetsFailed
from tests.acceptance.calls import CALLS, PATHS
from tests.acceptance.friday import (
    BACKENDS,
    DEADLINE,
    DIRECT,
    GRACE,
    PROXY,
    Friday,
    all_untroubled_but,
    decision_of,
    stories,
    story,
)
from tests.acceptance.openrouter import account

pytestmark = pytest.mark.litellm

PAID = {"email-draft": "claude-3-haiku", "complex-reasoning": "llama-3.1-70b"}
"""The model outside of the allowance."""


TOO_LONG = 90
"""Seconds to stay away that no call has."""


def chat_fails(router: Router, unit: int) -> AllTargetsFailed:
    """The error of a chat, which has free models only."""
    began = monotonic()
    with pytest.raises(AllTargetsFailed) as caught:
        router.complete("Hvornår kommer I?", task="chat", unit=unit)
    assert monotonic() - began <= DEADLINE + GRACE
    return caught.value


def test_every_task_with_a_paid_model_is_answered_by_it(friday: Friday) -> None:
    friday.play(account(free_requests=0))
    with friday.router() as router:
        replies = friday.answer_all(router)
    friday.check(replies)
    calls = [call for call in CALLS if call.task in PAID]
    paid = {call.number: [f"{BACKENDS[PATHS[call.unit]]}/{PAID[call.task]}: answered"] for call in calls}
    # The first one to meet it tells the breaker, and nobody runs into it again, on either path.
    first = calls[0]
    paid[first.number].insert(0, f"{BACKENDS[PATHS[first.unit]]}/glm-4.5-air-free: rate_limit")
    assert stories(replies) == all_untroubled_but(paid)


def test_the_paid_models_are_reached_directly_where_the_proxy_is_dead_too(friday: Friday, dead_address: str) -> None:
    friday.play(account(free_requests=0))
    with friday.router(proxy_url=dead_address) as router:
        reply = router.complete("Svar", task="email-draft", unit=12)
    assert story(decision_of(reply)) == [
        f"{PROXY}/glm-4.5-air-free: connect",
        f"{DIRECT}/glm-4.5-air-free: rate_limit",
        f"{DIRECT}/claude-3-haiku: answered",
    ]
    friday.check_wire([reply], unrelayed={"connect"})


def test_a_chat_fails_on_the_direct_path_and_says_when_to_come_again(friday: Friday) -> None:
    friday.play(account(free_requests=0, retry_after=TOO_LONG))
    with friday.router() as router:
        error = chat_fails(router, unit=42)
    assert error.retry_after == TOO_LONG
    assert error.decision
    assert story(error.decision) == [f"{DIRECT}/glm-4.5-air-free: rate_limit"]
    assert friday.openrouter.models == ["z-ai/glm-4.5-air:free"]


def test_a_chat_through_the_proxy_fails_without_asking_for_the_same_allowance_directly(friday: Friday) -> None:
    friday.play(account(free_requests=0, retry_after=TOO_LONG))
    with friday.router() as router:
        error = chat_fails(router, unit=12)
    assert error.retry_after == TOO_LONG
    assert error.decision
    assert story(error.decision) == [f"{PROXY}/glm-4.5-air-free: rate_limit"]
    assert friday.proxy.upstream.models == ["z-ai/glm-4.5-air:free"]
    assert friday.openrouter.models == []


def test_a_chat_reaches_the_direct_path_where_the_proxy_is_dead_too(friday: Friday, dead_address: str) -> None:
    friday.play(account(free_requests=0, retry_after=TOO_LONG))
    with friday.router(proxy_url=dead_address) as router:
        error = chat_fails(router, unit=12)
    assert error.retry_after == pytest.approx(TOO_LONG, abs=1)
    assert error.decision
    # The proxy has no second chance: it may be up again in a moment, but the allowance is spent there too.
    assert story(error.decision) == [f"{PROXY}/glm-4.5-air-free: connect", f"{DIRECT}/glm-4.5-air-free: rate_limit"]
    assert friday.openrouter.models == ["z-ai/glm-4.5-air:free"]
