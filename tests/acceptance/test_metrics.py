"""What sinks and callers learn of the morning: one attempt on record for each HTTP request."""

import json

import pytest

from pointsman.events import AttemptFinished, AttemptStarted, RequestFinished, RequestStarted
from pointsman.testing import ScriptedServer, openrouter_usage
from tests.acceptance.calls import CALLS
from tests.acceptance.friday import DIRECT, PROXY, Friday, decision_of, slug
from tests.acceptance.load_balancer import LoadBalancer
from tests.acceptance.openrouter import COST, account

pytestmark = pytest.mark.litellm


def test_every_http_request_is_one_attempt_with_its_tokens_cost_and_model(friday: Friday) -> None:
    friday.play(account(free_requests=6))
    with friday.router() as router:
        replies = friday.answer_all(router)
    events = friday.watcher.events
    attempts = [event for event in events if isinstance(event, AttemptFinished)]
    assert len(attempts) == len(friday.proxy.upstream.requests) + len(friday.openrouter.requests) == 13
    for kind, count in ((AttemptStarted, 13), (RequestStarted, 12), (RequestFinished, 12)):
        assert sum(isinstance(event, kind) for event in events) == count
    texts = {decision_of(reply).request_id: reply.text for reply in replies}
    for attempt in attempts:
        if attempt.outcome == "answered":
            told = openrouter_usage(texts[attempt.request_id])
            assert attempt.usage
            assert attempt.usage.input_tokens == told["prompt_tokens"]
            assert attempt.usage.output_tokens == told["completion_tokens"]
            free = attempt.target.name.endswith(":free")
            assert (attempt.usage.cost, attempt.usage.cost_source) == (0.0 if free else COST, "usage.cost")
            # The proxy answers under the name that it was asked for.
            assert attempt.served_model == attempt.target.name
            assert attempt.provider == "Nordlys"
        else:
            assert attempt.failure
            assert attempt.failure.kind == "rate_limit"
            assert attempt.usage is None
            assert attempt.served_model is None


def test_the_two_paths_can_be_told_apart(friday: Friday) -> None:
    friday.play(account())
    with friday.router() as router:
        friday.answer_all(router)
    served = {
        (event.path, event.target.backend) for event in friday.watcher.events if isinstance(event, AttemptFinished)
    }
    assert served == {("proxied", PROXY), ("direct", DIRECT)}


def test_a_rescued_request_still_counts_for_the_path_that_it_was_assigned(friday: Friday, dead_address: str) -> None:
    friday.play(account())
    with friday.router(proxy_url=dead_address) as router:
        router.complete("Svar", task="email-draft", unit=12)
    attempts = [event for event in friday.watcher.events if isinstance(event, AttemptFinished)]
    assert [(event.path, event.target.backend) for event in attempts] == [("proxied", PROXY), ("proxied", DIRECT)]
    (finished,) = [event for event in friday.watcher.events if isinstance(event, RequestFinished)]
    assert finished.path == "proxied"


def test_the_caller_and_the_sink_have_the_same_record(friday: Friday) -> None:
    friday.play(account(free_requests=6))
    with friday.router() as router:
        replies = friday.answer_all(router)
    finished = [event.decision for event in friday.watcher.events if isinstance(event, RequestFinished)]
    assert finished == [decision_of(reply) for reply in replies]


def test_the_record_has_the_proxys_own_id_of_each_call(friday: Friday) -> None:
    friday.play(account())
    balancer = LoadBalancer(friday.proxy.port)
    with ScriptedServer(balancer.answer) as front, friday.router(proxy_url=front.url) as router:
        replies = friday.answer_all(router)
    attempts = [attempt for reply in replies for attempt in decision_of(reply).attempts]
    assert [attempt.call_id for attempt in attempts if attempt.target.backend == PROXY] == balancer.call_ids
    assert len(set(balancer.call_ids)) == 7
    assert None not in balancer.call_ids
    assert all(attempt.call_id is None for attempt in attempts if attempt.target.backend == DIRECT)
    assert [attempt.id for attempt in attempts] == [reply.id for reply in replies]


def test_the_sink_on_stdout_writes_a_line_for_each_of_them(friday: Friday, capsys: pytest.CaptureFixture[str]) -> None:
    friday.play(account(free_requests=6))
    with friday.router() as router:
        replies = friday.answer_all(router)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    attempts = [line for line in lines if line["event"] == "attempt_finished"]
    assert [(line["wire_model"].removeprefix("openrouter/"), line["outcome"]) for line in attempts] == [
        (slug(attempt.target), attempt.outcome) for reply in replies for attempt in decision_of(reply).attempts
    ]
    finished = [line for line in lines if line["event"] == "request_finished"]
    assert [(line["task"], line["unit"]) for line in finished] == [(call.task, call.unit) for call in CALLS]
    assert sum(line["fallbacks"] for line in finished) == 1
