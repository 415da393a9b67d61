"""A proxy that retries and falls back by itself: kept from it, unless the configuration leaves it to the proxy."""

import pytest

from pointsman.chat import InnerAttempts
from pointsman.testing import openrouter_error, provider_rate_limit
from tests.acceptance.conftest import LLAMA
from tests.acceptance.friday import DIRECT, PROXY, Friday, decision_of, story
from tests.acceptance.openrouter import account, said

pytestmark = pytest.mark.litellm

GLM, GPT_OSS, LLAMA_SLUG = "z-ai/glm-4.5-air:free", "openai/gpt-oss-20b:free", "meta-llama/llama-3.1-70b-instruct"

TROUBLES = {
    "busy": provider_rate_limit(GLM, retry_after=1),
    "broken": openrouter_error(500, "Internal Server Error"),
    "unavailable": openrouter_error(503, "No instances available"),
}


@pytest.mark.parametrize("trouble", TROUBLES)
def test_each_attempt_is_one_request_whatever_the_proxy_would_do_by_itself(own_ways: Friday, trouble: str) -> None:
    own_ways.play(account(instead={GLM: TROUBLES[trouble]}))
    with own_ways.router() as router:
        reply = router.complete("Svar", task="email-draft", unit=12)
    decision = decision_of(reply)
    assert own_ways.proxy.upstream.models == [GLM, GPT_OSS]
    assert [attempt.target.model for attempt in decision.attempts] == ["glm-4.5-air-free", "gpt-oss-20b-free"]
    assert decision.attempts[-1].inner == InnerAttempts(
        retries=0, fallbacks=0, model_group="openrouter/openai/gpt-oss-20b:free"
    )
    assert reply.text == said(GPT_OSS, "Svar")


@pytest.mark.parametrize("trouble", TROUBLES)
def test_with_inner_fallbacks_the_proxys_own_fallback_answers_and_is_recorded(own_ways: Friday, trouble: str) -> None:
    own_ways.play(account(instead={GLM: TROUBLES[trouble]}))
    with own_ways.router(inner_fallbacks=True) as router:
        reply = router.complete("Svar", task="email-draft", unit=12)
    decision = decision_of(reply)
    assert [str(target) for target in decision.candidates] == [
        f"{PROXY}/glm-4.5-air-free",
        f"{DIRECT}/glm-4.5-air-free",
        f"{DIRECT}/gpt-oss-20b-free",
        f"{DIRECT}/claude-3-haiku",
    ]
    assert own_ways.proxy.upstream.models == [GLM, LLAMA_SLUG]
    assert story(decision) == [f"{PROXY}/glm-4.5-air-free: answered"]
    inner = decision.attempts[0].inner
    assert inner
    assert (inner.fallbacks, inner.model_group) == (1, LLAMA)
    assert reply.inner == inner
    assert reply.text == said(LLAMA_SLUG, "Svar")


def test_with_inner_fallbacks_the_direct_path_serves_where_the_proxys_fallback_fails_too(own_ways: Friday) -> None:
    busy = {GLM: provider_rate_limit(GLM), LLAMA_SLUG: provider_rate_limit(LLAMA_SLUG)}
    own_ways.play(account(instead=busy))
    with own_ways.router(inner_fallbacks=True) as router:
        reply = router.complete("Svar", task="email-draft", unit=12)
    assert own_ways.proxy.upstream.models == [GLM, LLAMA_SLUG]
    assert own_ways.openrouter.models == [GLM, GPT_OSS]
    assert story(decision_of(reply)) == [
        f"{PROXY}/glm-4.5-air-free: rate_limit",
        f"{DIRECT}/glm-4.5-air-free: rate_limit",
        f"{DIRECT}/gpt-oss-20b-free: answered",
    ]


def test_with_inner_fallbacks_a_dead_proxy_is_caught_by_the_direct_path(friday: Friday, dead_address: str) -> None:
    friday.play(account())
    with friday.router(proxy_url=dead_address, inner_fallbacks=True) as router:
        replies = [router.complete("Svar", task="email-draft", unit=unit) for unit in (12, 23, 5)]
    for reply in replies:
        assert story(decision_of(reply)) == [
            f"{PROXY}/glm-4.5-air-free: connect",
            f"{DIRECT}/glm-4.5-air-free: answered",
        ]
    friday.check_wire(replies, unrelayed={"connect"})
