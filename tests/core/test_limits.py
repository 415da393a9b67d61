"""Limits that are known beforehand are not run into: others are tried, or a moment is waited."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.errors import AllTargetsFailed, ConfigError
from pointsman.policy.limits import Limits
from pointsman.router import Router
from pointsman.testing import Answers, Fails, Hangs, Simulation
from tests.core.simulated import always, routes
from tests.core.support import decided

ONE_SECOND = always(Answers(after=1.0))


def simulated(limits, script=ONE_SECOND, *, backends=("only",), models=("small",), **sections):
    return Simulation(routes(backends, models, plugins={"limits": limits}, **sections), script)


def most_at_once(result, which=lambda attempt: True, lasting=1.0) -> int:
    times = [attempt.time for attempt in result.attempts if which(attempt)]
    return max(sum(time <= other < time + lasting for other in times) for time in times)


def test_without_a_limit_everyone_goes_at_once():
    simulation = simulated({})
    for _ in range(100):
        simulation.request(at=0)
    assert most_at_once(simulation.run()) == 100


@pytest.mark.parametrize("name", ["only", "only/small", "free"])
def test_no_more_attempts_than_the_limit_are_under_way_at_one_time(name):
    simulation = simulated({"concurrency": {name: 3}}, quotas={"small": "free"})
    for _ in range(12):
        simulation.request(at=0)
    result = simulation.run()
    assert most_at_once(result) == 3
    assert all(call.answered for call in result.calls)


def test_a_full_target_is_passed_by_while_another_is_left():
    simulation = simulated({"concurrency": {"a": 1}}, backends=("a", "b"))
    first, second = simulation.request(at=0), simulation.request(at=0.5)
    simulation.run()
    assert str(decided(first.completion).served) == "a/small"
    assert str(decided(second.completion).served) == "b/small"
    assert second.duration == 1.0
    (skip,) = decided(second.completion).skipped
    assert (skip.plugin, skip.why) == ("limits", "a is at its limit of 1 at one time")


def test_who_waits_too_long_is_told_when_to_come_back():
    simulation = simulated({"concurrency": {"only": 1}, "max_wait": 2.0}, always(Answers(after=30.0)))
    simulation.request(at=0)
    late = simulation.request(at=1)
    simulation.run()
    assert isinstance(late.error, AllTargetsFailed)
    assert late.duration == pytest.approx(2.0, abs=0.06)
    assert late.error.retry_after is not None
    assert late.error.attempts == ()


def test_a_place_is_free_again_however_the_attempt_ended():
    ends = iter([Fails("server", after=0.1), Hangs(), Answers(after=0.1)])
    simulation = simulated(
        {"concurrency": {"only": 1}}, lambda _: next(ends, Answers(after=0.1)), router={"attempt_timeout": 1.0}
    )
    simulation.request(at=0)
    simulation.request(at=3, cancel_after=0.2)
    last = simulation.request(at=4)
    simulation.run()
    assert last.answered
    assert last.duration < 0.2


def test_a_minute_holds_no_more_than_its_limit():
    simulation = simulated({"per_minute": {"free": 20}, "max_wait": "2m"}, quotas={"small": "free"})
    for _ in range(30):
        simulation.request(at=0, deadline=200)
    result = simulation.run()
    assert all(call.answered for call in result.calls)
    times = [attempt.time for attempt in result.attempts]
    assert times[:20] == [0.0] * 20
    assert all(60.0 <= time < 60.2 for time in times[20:])


def test_what_would_have_to_wait_longer_than_it_may_is_skipped_at_once():
    simulation = simulated({"per_minute": {"only": 2}}, backends=("only", "other"))
    calls = [simulation.request(at=0) for _ in range(3)]
    simulation.run()
    assert [str(decided(call.completion).served) for call in calls] == ["only/small", "only/small", "other/small"]
    (skip,) = decided(calls[2].completion).skipped
    assert skip.retry_after == pytest.approx(60.0)


def test_the_limit_that_frees_last_says_when():
    simulation = simulated({"concurrency": {"only": 1}, "per_minute": {"only/small": 1}})
    simulation.request(at=0)
    late = simulation.request(at=0.5)
    simulation.run()
    assert late.duration == 0.0
    assert late.error is not None
    assert late.error.retry_after == pytest.approx(59.5)


def test_a_wait_of_just_so_long_is_waited():
    simulation = simulated({"per_minute": {"only": 1}, "max_wait": 60})
    simulation.request(at=0)
    late = simulation.request(at=0, deadline=100)
    simulation.run()
    assert late.answered


def test_an_attempt_that_has_ended_is_still_one_of_its_minute():
    simulation = simulated({"per_minute": {"only": 2}})
    calls = [simulation.request(at=start) for start in (0, 5, 10)]
    simulation.run()
    assert [call.answered for call in calls] == [True, True, False]


def test_no_more_than_a_minute_is_remembered():
    gate = Limits(per_minute={"only": 100})
    simulation = simulated(gate)
    for second in range(500):
        simulation.request(at=second)
    simulation.run()
    assert len(gate._counts.here().began["only"]) == 60


def test_an_attempt_that_another_gate_refuses_leaves_its_place(caplog):
    config = {"concurrency": {"only": 1, "only/small": 1}, "per_minute": {"only": 3}}
    simulation = simulated(config, always(Fails("not_found", after=0.0)))
    for second in range(10):
        simulation.request(at=second)
    result = simulation.run()
    assert len(result.attempts) == 1
    reasons = {skip.plugin for call in result.calls[1:] for skip in decided(call.error).skipped}
    assert reasons == {"breaker"}
    assert not caplog.records


@pytest.mark.parametrize("setting", ["concurrency", "per_minute"])
def test_a_limit_is_at_least_one(setting):
    with pytest.raises(ConfigError, match=rf"plugins.limits.{setting}: .*the limit of only must be at least 1, not 0"):
        Router({"plugins": {"limits": {setting: {"only": 0}}}})


@settings(max_examples=60, deadline=None)
@given(
    starts=st.lists(st.floats(0, 200), min_size=1, max_size=80),
    per_minute=st.integers(1, 10),
    concurrency=st.integers(1, 4),
)
def test_no_minute_and_no_moment_ever_holds_more(starts, per_minute, concurrency):
    limits = {"per_minute": {"only": per_minute}, "concurrency": {"only": concurrency}, "max_wait": 30}
    simulation = simulated(limits)
    for start in starts:
        simulation.request(at=start)
    result = simulation.run()
    assert most_at_once(result) <= concurrency
    assert most_at_once(result, lasting=60.0) <= per_minute
