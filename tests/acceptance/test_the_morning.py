"""Twelve calls, half of the users on the real LiteLLM proxy: all of them are answered, whatever befalls it."""

import signal
from collections.abc import Callable

import pytest

from pointsman.testing import ScriptedServer, openrouter_answer
from tests.acceptance.calls import CALLS, LEADS, PATHS
from tests.acceptance.friday import (
    BACKENDS,
    DIRECT,
    PROXY,
    Friday,
    all_untroubled_but,
    decision_of,
    stories,
    story,
    untroubled,
)
from tests.acceptance.load_balancer import LoadBalancer
from tests.acceptance.openrouter import account
from tests.support.litellm_proxy import LiteLLMProxy

pytestmark = pytest.mark.litellm

FREE_REQUESTS = 6
"""What the free tier allows: five e-mails and one plan. The other plan hits the limit."""

AFTER_THE_LIMIT = [f"{DIRECT}/glm-4.5-air-free: rate_limit", f"{DIRECT}/llama-3.1-70b: answered"]
"""How the plan that hits the limit goes on where the proxy is of no use."""


def caught(*failures: str) -> dict[int, list[str]]:
    """The stories of the second half where the proxy fails so, with one model after the other."""
    models = ("glm-4.5-air-free", "gpt-oss-20b-free")
    tried = [f"{PROXY}/{model}: {failure}" for model, failure in zip(models, failures, strict=False)]
    served = [*tried, f"{DIRECT}/glm-4.5-air-free: answered"]
    return all_untroubled_but({7: served, 9: served, 10: served, 12: [*tried, *AFTER_THE_LIMIT]})


def test_the_rate_limited_plan_falls_over_and_everything_is_answered(friday: Friday) -> None:
    friday.play(account(free_requests=FREE_REQUESTS))
    with friday.router() as router:
        replies = friday.answer_all(router)
    friday.check(replies)
    assert stories(replies) == all_untroubled_but(
        {12: [f"{PROXY}/glm-4.5-air-free: rate_limit", f"{PROXY}/llama-3.1-70b: answered"]}
    )


def test_the_plugins_are_found_through_their_entry_points(friday: Friday) -> None:
    with friday.router() as router:
        distributions = {plugin.name: plugin.distribution for plugin in router.snapshot.plugins}
    assert str(distributions[PROXY]).startswith("pointsman-litellm-backend")
    assert str(distributions[DIRECT]).startswith("pointsman-openrouter-direct")


def test_a_proxy_that_is_killed_half_way_is_caught(
    start_litellm: Callable[..., LiteLLMProxy], server: ScriptedServer
) -> None:
    friday = Friday(start_litellm(), server)
    friday.play(account(free_requests=FREE_REQUESTS))
    with friday.router() as router:
        replies = friday.answer_all(router, half_way=friday.proxy.kill)
    friday.check(replies, unrelayed={"connect"})
    assert stories(replies) == caught("connect")


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="this system cannot suspend a process")
def test_a_proxy_that_hangs_from_half_way_on_is_caught(
    start_litellm: Callable[..., LiteLLMProxy], server: ScriptedServer
) -> None:
    friday = Friday(start_litellm(), server)
    friday.play(account(free_requests=FREE_REQUESTS))
    with friday.router(deadline=6.0, attempt_timeout=1.0, reserve=1.0) as router:
        try:
            replies = friday.answer_all(router, half_way=lambda: friday.proxy._signal(signal.SIGSTOP))
        finally:
            friday.proxy.kill()  # it does not hear that it should end
    friday.check(replies, unrelayed={"timeout"})
    assert stories(replies) == caught("timeout", "timeout")


def test_a_load_balancer_that_answers_502_from_half_way_on_is_passed_by(friday: Friday) -> None:
    balancer = LoadBalancer(friday.proxy.port)
    friday.play(account(free_requests=FREE_REQUESTS))
    with ScriptedServer(balancer.answer) as front, friday.router(proxy_url=front.url) as router:
        replies = friday.answer_all(router, half_way=balancer.lose_the_proxy)
    friday.check(replies, unrelayed={"server"})
    assert stories(replies) == caught("server")
    attempts = [attempt for reply in replies for attempt in decision_of(reply).attempts]
    assert front.models == [attempt.target.name for attempt in attempts if attempt.target.backend == PROXY]


def test_a_wrong_key_sends_everyone_to_the_direct_path(friday: Friday) -> None:
    friday.play(account())
    with friday.router(proxy_key="sk-wrong") as router:
        replies = friday.answer_all(router)
    friday.check(replies, unrelayed={"auth"})
    proxied = [call for call in CALLS if PATHS[call.unit] == "proxied"]
    refused = {call.number: untroubled(call, "direct") for call in proxied}
    # One call is enough to know: the others are not made to run into it.
    refused[proxied[0].number] = [
        untroubled(proxied[0])[0].replace("answered", "auth"),
        *untroubled(proxied[0], "direct"),
    ]
    assert stories(replies) == all_untroubled_but(refused)
    failures = [attempt.failure for reply in replies for attempt in decision_of(reply).attempts if attempt.failure]
    assert {(failure.status, failure.code) for failure in failures} == {(400, "no_db_connection")}


def test_a_model_that_the_proxy_has_no_more_is_replaced_by_the_next(own_ways: Friday) -> None:
    own_ways.play(account())
    with own_ways.router() as router:
        replies = own_ways.answer_all(router)
    own_ways.check(replies, unrelayed={"not_found"})
    gone, served = f"{PROXY}/claude-3-haiku: not_found", f"{PROXY}/llama-3.1-70b: answered"
    assert stories(replies) == all_untroubled_but({2: [gone, served], 4: [served], 5: [served]})


def test_a_forced_model_that_the_proxy_has_no_more_is_served_directly(own_ways: Friday) -> None:
    own_ways.play(account())
    with own_ways.router() as router:
        reply = router.complete("Vurdér", task="email-draft", unit=12, model="claude-3-haiku")
    assert story(decision_of(reply)) == [f"{PROXY}/claude-3-haiku: not_found", f"{DIRECT}/claude-3-haiku: answered"]
    own_ways.check_wire([reply], unrelayed={"not_found"})


def test_a_model_that_is_too_slow_is_replaced_by_the_next(friday: Friday) -> None:
    limit = 1.0
    slow = "anthropic/claude-3-haiku"
    friday.play(account(instead={slow: openrouter_answer(slow, "for sent", delay=2 * limit)}))
    with friday.router(deadline=6.0, attempt_timeout=limit, reserve=limit) as router:
        replies = friday.answer_all(router)
    friday.check(replies)
    replaced = {
        number: [f"{BACKENDS[PATHS[unit]]}/claude-3-haiku: timeout", f"{BACKENDS[PATHS[unit]]}/llama-3.1-70b: answered"]
        for number, unit in enumerate(LEADS, start=1)
    }
    assert stories(replies) == all_untroubled_but(replaced)
    assert [request.model for request in friday.openrouter.abandoned] == [slow] * 2


def test_the_same_morning_again_takes_the_same_paths(friday: Friday) -> None:
    friday.play(account())
    paths: list[list[str | None]] = []
    for _ in range(2):
        with friday.router() as router:
            paths.append([decision_of(reply).path for reply in friday.answer_all(router)])
    assert paths[0] == paths[1] == [PATHS[call.unit] for call in CALLS]
