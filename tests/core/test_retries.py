"""The second chance: only when nothing else is left, after a pause, and paid for out of a budget."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.errors import AllTargetsFailed, Failure
from pointsman.loading import from_config
from pointsman.policy.retries import Retries, _Budget
from pointsman.targets import Target
from pointsman.testing import Answers, Fails, Hangs, Simulation
from pointsman.verdicts import SkipTarget, WaitUntil
from tests.core.simulated import FAST, always, by_target, in_turn, routes
from tests.core.support import OFF, Gatekeeper, Scripted, decided, drive, failure, table
from tests.faults.table import proves


def simulated(script, *, backends=("only",), models=("small",), retries=None, router=None, seed=0):
    plugins = {"breaker": OFF, "retries": retries or {}}
    return Simulation(routes(backends, models, plugins=plugins, router=router or {}), script, seed=seed)


def tried(call) -> list[str]:
    return [str(attempt.target) for attempt in decided(call.completion or call.error).attempts]


@pytest.mark.parametrize("kind", ["connect", "server", "timeout", "bad_response"])
def test_the_last_target_is_tried_again_when_its_failure_may_be_over_in_a_moment(kind):
    simulation = simulated(in_turn(Fails(kind, after=0.01)))
    call = simulation.request(at=0)
    simulation.run()
    assert tried(call) == ["only/small"] * 2
    assert decided(call.completion).attempts[1].why == "attempt 2 on it: no other target is left"


@pytest.mark.parametrize("kind", ["auth", "payment", "not_found", "rate_limit", "plugin", "local_limit"])
def test_other_failures_are_not_over_in_a_moment(kind):
    simulation = simulated(in_turn(Fails(kind, after=0.01)))
    call = simulation.request(at=0)
    simulation.run()
    assert tried(call) == ["only/small"]
    assert not call.answered


@pytest.mark.parametrize("kind", ["bad_request", "content_policy", "context_length"])
def test_a_request_that_is_at_fault_itself_is_not_tried_again(kind):
    simulation = simulated(in_turn(Fails(kind, after=0.01)))
    call = simulation.request(at=0)
    simulation.run()
    assert tried(call) == ["only/small"]


def test_moving_on_beats_waiting():
    simulation = simulated(in_turn(FAST, FAST, FAST), models=("small", "large"), backends=("proxy", "direct"))
    call = simulation.request(at=0)
    simulation.run()
    assert tried(call) == ["proxy/small", "proxy/large", "direct/small", "direct/large"]
    assert call.duration < 0.05


def test_those_that_are_left_have_their_second_chance_in_turn():
    simulation = simulated(by_target({"a/small": FAST, "b/small": FAST}), backends=("a", "b"))
    call = simulation.request(at=0)
    simulation.run()
    assert tried(call) == ["a/small", "b/small", "a/small", "b/small"]


def test_retries_come_out_of_the_same_budget_of_attempts():
    simulation = simulated(always(FAST), router={"max_attempts": 3})
    call = simulation.request(at=0)
    simulation.run()
    assert tried(call) == ["only/small"] * 3
    assert isinstance(call.error, AllTargetsFailed)


def test_pauses_are_left_to_chance_below_a_limit_that_doubles():
    longest = [0.0, 0.0, 0.0]
    for seed in range(60):
        simulation = simulated(always(Fails("server", after=0.0)), seed=seed)
        simulation.request(at=0)
        times = [attempt.time for attempt in simulation.run().attempts]
        pauses = [after - before for before, after in pairwise(times)]
        assert all(0 < pause <= limit for pause, limit in zip(pauses, (0.5, 1.0, 2.0), strict=True))
        longest = [max(pair) for pair in zip(longest, pauses, strict=True)]
    assert [seen > 0.9 * limit for seen, limit in zip(longest, (0.5, 1.0, 2.0), strict=True)] == [True] * 3


def test_the_limit_of_a_pause_has_a_cap():
    router = {"max_attempts": 12, "deadline": 1000}
    simulation = simulated(always(Fails("server", after=0.0)), retries={"pause_at_most": 1.5}, router=router)
    simulation.request(at=0)
    times = [attempt.time for attempt in simulation.run().attempts]
    assert max(after - before for before, after in pairwise(times)) <= 1.5


def test_a_server_that_says_when_is_asked_again_then():
    limited = Failure.of("rate_limit", "slow down", retry_after=7.0)
    simulation = simulated(in_turn(Fails(limited, after=0.0)))
    call = simulation.request(at=0)
    first, second = simulation.run().attempts
    assert call.answered
    assert second.time - first.time == pytest.approx(7.0)


def test_waiting_that_does_not_fit_the_deadline_is_not_begun():
    limited = Failure.of("rate_limit", "slow down", retry_after=70.0)
    simulation = simulated(in_turn(Fails(limited, after=0.0)))
    call = simulation.request(at=0)
    simulation.run()
    assert tried(call) == ["only/small"]
    assert call.duration == 0.0
    assert call.error is not None
    assert call.error.retry_after == 70.0


def test_with_the_breaker_on_a_retry_after_is_waited_for_and_then_tried():
    """The breaker keeps everyone out for as long as the server said, and no longer."""
    limited = Failure.of("rate_limit", "slow down", retry_after=7.0)
    simulation = Simulation(routes(["only"], ["small"]), in_turn(Fails(limited, after=0.0)))
    call = simulation.request(at=0)
    simulation.run()
    assert call.answered
    assert call.duration == pytest.approx(7.01)


def test_who_asks_for_longer_than_there_is_time_is_passed_by():
    script = by_target(
        {
            "a/small": Fails(Failure.of("rate_limit", "slow down", retry_after=70.0), after=0.0),
            "b/small": Fails(Failure.of("rate_limit", "slow down", retry_after=7.0), after=0.0),
        }
    )
    simulation = simulated(script, backends=("a", "b"), router={"max_attempts": 3})
    call = simulation.request(at=0)
    simulation.run()
    assert tried(call) == ["a/small", "b/small", "b/small"]


def test_a_target_that_was_never_tried_has_no_second_chance():
    limited = Failure.of("rate_limit", "slow down", blames="quota", retry_after=7.0)
    config = routes(["only"], quotas={"small": "free", "large": "free"}, plugins={"breaker": OFF})
    simulation = Simulation(config, in_turn(Fails(limited, after=0.0)))
    call = simulation.request(at=0)
    simulation.run()
    assert tried(call) == ["only/small", "only/small"]


def test_the_last_failure_says_whether_there_is_another_chance():
    simulation = simulated(in_turn(FAST, Fails("auth", after=0.0)))
    call = simulation.request(at=0)
    simulation.run()
    assert tried(call) == ["only/small"] * 2


def test_a_time_to_come_back_is_no_promise_that_a_person_will_have_put_it_right():
    simulation = simulated(in_turn(Fails(Failure.of("auth", "no key", retry_after=1.0), after=0.0)))
    call = simulation.request(at=0)
    simulation.run()
    assert tried(call) == ["only/small"]


def test_what_the_gate_refuses_is_not_tried_again():
    gate = Gatekeeper(lambda target, ctx: None if ctx.now < 1000.01 else SkipTarget("shut"))
    made = table(["small"], {"only": Scripted()}, plugins={"gate": gate, "retries": {}})
    run = drive(made, [(0.1, failure())])
    assert run.tried == ["only/small"]
    assert isinstance(run.error, AllTargetsFailed)


# The budget


def test_a_dead_target_costs_ten_retries_and_then_one_attempt_a_request():
    simulation = simulated(always(FAST))
    for second in range(100):
        simulation.request(at=second * 10)
    assert len(simulation.run().attempts) == 100 + 10


def test_successes_alone_refill_it():
    alive = {"now": False}

    def script(attempt):
        return Answers(after=0.01) if alive["now"] else FAST

    simulation = simulated(script)
    for second in range(20):
        simulation.request(at=second * 10)
    assert len(simulation.run().attempts) == 30
    alive["now"] = True
    for second in range(20):
        simulation.request(at=300 + second)
    assert len(simulation.run().attempts) == 50
    alive["now"] = False
    for second in range(20):
        simulation.request(at=400 + second * 10)
    assert len(simulation.run().attempts) == 50 + 20 + 2


def test_it_never_holds_more_than_it_began_with():
    simulation = simulated(lambda attempt: Answers(after=0.0) if attempt.time < 1000 else FAST)
    for second in range(1000):
        simulation.request(at=second)
    for second in range(20):
        simulation.request(at=1000 + second * 10)
    assert len(simulation.run().attempts) == 1000 + 20 + 10


def test_each_target_has_its_own():
    simulation = simulated(by_target({"only/small": FAST, "only/large": FAST}), models=("small", "large"))
    for second in range(50):
        simulation.request(at=second * 10, model="small" if second % 2 else "large")
    assert len(simulation.run().attempts) == 50 + 20


def test_waiting_for_a_place_costs_no_retry():
    """Those who look for it again and again pay once, when the attempt begins."""
    first = iter([Fails("server", after=0.0), Answers(after=8.0)])
    plugins = {"breaker": OFF, "limits": {"concurrency": {"only": 1}, "max_wait": "1m"}}
    simulation = Simulation(routes(["only"], ["small"], plugins=plugins), lambda _: next(first, Answers(after=0.01)))
    waiting = simulation.request(at=0.0)
    simulation.request(at=0.0)
    simulation.run()
    assert waiting.answered
    (retries,) = [one.instance for one in simulation.snapshot.plugins if isinstance(one.instance, Retries)]
    spent = retries._budgets.here()._spent
    assert list(spent.values()) == [pytest.approx(0.9)], "one retry, less a tenth for its answer"


def test_without_a_budget_nothing_is_tried_again():
    simulation = simulated(always(FAST), retries={"budget": 0.0})
    call = simulation.request(at=0)
    assert len(simulation.run().attempts) == 1
    assert call.duration == pytest.approx(0.01)


def test_a_pause_ends_with_the_request():
    simulation = simulated(always(Hangs()), router={"attempt_timeout": 1.0, "max_attempts": 50, "deadline": 10.0})
    call = simulation.request(at=0)
    simulation.run()
    assert call.duration <= 10.0


def test_a_retry_that_another_gate_refuses_is_paid_back_and_nothing_else_is():
    open_for = iter([True, True, False, True, True, False, True, True])
    gate = Gatekeeper(lambda target, ctx: None if next(open_for) else SkipTarget("shut"))
    plugins = {"retries": {"budget": 2.0}, "gate": gate}
    made = from_config(table(["small"], {"only": Scripted()}, plugins=plugins, order={"admit": ["retries", "gate"]}))
    attempts = [len(drive(made, lambda _: failure()).attempts) for _ in range(4)]
    # A retry that is made and one that is not; the other one; a first attempt that is not made; none left.
    assert attempts == [2, 2, 0, 1]


def test_a_first_attempt_costs_nothing_also_after_a_retry_that_was_refused_before_it_was_paid_for():
    refused = iter([False, True])

    def rule(target, ctx):
        if target.backend == "proxy":
            return SkipTarget("shut") if next(refused) else None
        return WaitUntil(1005.0, why="busy") if ctx.now < 1005.0 else None

    plugins = {"retries": {"budget": 1.0}, "gate": Gatekeeper(rule)}
    made = table(["small"], plugins=plugins, order={"admit": ["gate", "retries"]})
    run = drive(made, [failure(), failure()])
    # The refused retry was the proxy's; the first attempt on the other one left it its only retry.
    assert run.tried == ["proxy/small", "direct/small", "direct/small"]
    assert run.error is None


def test_what_another_rule_remembers_of_a_request_is_kept():
    seen = []

    def rule(target, ctx):
        seen.append((ctx.memory or {}).get("mine"))
        ctx.memory = {**(ctx.memory or {}), "mine": len(seen)}

    drive(table(["small"], {"only": Scripted()}, plugins={"gate": Gatekeeper(rule), "retries": {}}), [failure()])
    assert seen == [None, 1]


def test_what_was_not_earned_back_stays_spent():
    target, budget = Target(model="small", backend="only", name="x"), _Budget(1.0)
    assert budget.spend(target)
    budget.refill(target, 0.1)
    assert not budget.spend(target)


def test_nothing_is_saved_up():
    target, budget = Target(model="small", backend="only", name="x"), _Budget(1.5)
    assert budget.spend(target)
    budget.refill(target, 0.95)
    budget.refill(target, 0.95)
    assert [budget.spend(target), budget.spend(target)] == [True, False]


def test_an_answer_that_comes_when_the_budget_is_full_again_takes_nothing_from_it():
    target, budget = Target(model="small", backend="only", name="x"), _Budget(1.0)
    assert budget.spend(target)
    for _ in range(3):
        budget.refill(target, 0.6)
    assert budget.spend(target)


@proves(4)
@settings(max_examples=60, deadline=None)
@given(
    ends=st.lists(st.booleans(), min_size=1, max_size=150),
    budget=st.sampled_from([0.0, 1.0, 10.0]),
    seed=st.integers(0, 1000),
)
def test_retries_never_exceed_the_budget_and_a_tenth_of_the_successes(ends, budget, seed):
    left = iter(ends)
    simulation = simulated(
        lambda _: Answers(after=0.0) if next(left, True) else FAST, retries={"budget": budget}, seed=seed
    )
    for number in range(len(ends)):
        simulation.request(at=number * 61.0)
    result = simulation.run()
    retries = len(result.attempts) - len(result.calls)
    successes = sum(call.answered for call in result.calls)
    assert retries <= budget + 0.1 * successes + 1e-9
