"""The breaker at the gate: what each failure shuts, for whom, for how long, and who is told."""

import asyncio
import logging
import threading
from random import Random

import pytest

from pointsman.context import DecisionContext
from pointsman.errors import AllTargetsFailed, Failure
from pointsman.events import CircuitChanged
from pointsman.loading import from_config
from pointsman.policy.breaker import Breaker
from pointsman.policy.circuits import CircuitKey, Lease, Opens, Shut
from pointsman.policy.limits import Limits
from pointsman.router import Router
from pointsman.targets import Target
from pointsman.testing import Answers, Breaks, Fails, Hangs, Simulation
from pointsman.verdicts import Permit
from tests.core.simulated import FAST, always, by_target, in_turn, moves, routes, until
from tests.core.support import OFF, Clock, Collecting, Scripted, decided, failed, failure, for_ever, table

ONE = ("only",)


def one_target(script, *, router=None, breaker=None):
    """One model on one backend, so that nothing hides behind a fallback; and no second chance."""
    plugins = {"retries": OFF, "breaker": breaker or {}}
    return Simulation(routes(ONE, ["small"], plugins=plugins, router=router or {}), script)


def each_second(simulation, count, first=0.0, **call):
    return [simulation.request(at=first + second, **call) for second in range(count)]


# What opens, and whom that keeps out


def test_five_failures_in_a_row_open_the_targets_circuit_and_the_sixth_request_costs_no_attempt():
    simulation = one_target(always(FAST))
    *_, sixth = each_second(simulation, 6, first=0.0)
    result = simulation.run(until=4.9)
    assert len(result.attempts) == 5
    result = simulation.run()
    assert isinstance(sixth.error, AllTargetsFailed)
    assert sixth.decision is not None
    assert sixth.decision.attempts == ()
    (skip,) = sixth.decision.skipped
    assert skip.plugin == "breaker"
    assert skip.why == "the circuit of target only/small is open: 5 failures in a row: simulated: server"
    assert skip.retry_after == sixth.error.retry_after
    assert 0 < (sixth.error.retry_after or 0) <= 5
    assert moves(result.events) == ["target only/small open"]


def test_what_blames_the_backend_shuts_all_its_models():
    simulation = Simulation(routes(["proxy"], plugins={"retries": OFF}), always(Fails("connect", after=0.01)))
    for second in range(5):
        simulation.request(at=second, model="small")
    simulation.request(at=5, model="large")
    result = simulation.run(until=6)
    assert len(result.attempts) == 5
    assert moves(result.events) == ["backend proxy open"]


def test_what_blames_a_quota_shuts_every_target_that_draws_on_it_and_no_other():
    config = routes(quotas={"small": "free", "large": "free"}, models=["small", "large", "paid"])
    limited = Failure.of("rate_limit", "slow down", retry_after=30.0)
    simulation = Simulation(config, in_turn(Fails(limited, after=0.01)))
    first = simulation.request(at=0)
    second = simulation.request(at=1)
    result = simulation.run()
    assert [str(attempt.target) for attempt in result.attempts] == ["proxy/small", "proxy/paid", "proxy/paid"]
    assert first.answered
    assert second.answered
    assert second.decision is not None
    assert {str(skip.target) for skip in second.decision.skipped} == {"proxy/small", "proxy/large"}
    assert moves(result.events)[0] == "quota free open"


def test_what_has_no_quota_draws_on_the_backends_account():
    limited = Failure.of("rate_limit", "slow down", retry_after=30.0)
    simulation = Simulation(routes(), in_turn(Fails(limited, after=0.01)))
    simulation.request(at=0)
    simulation.request(at=1)
    result = simulation.run()
    assert [attempt.target.backend for attempt in result.attempts] == ["proxy", "direct", "direct"]
    assert moves(result.events) == ["quota account of proxy open"]


@pytest.mark.parametrize(
    ("kind", "scope"),
    [
        ("auth", "backend"),
        ("payment", "backend"),
        ("not_found", "target"),
        ("rate_limit", "quota"),
    ],
)
def test_kinds_that_open_at_once_keep_out_for_about_a_minute(kind, scope):
    simulation = one_target(in_turn(Fails(kind, after=0.0)))
    simulation.request(at=0)
    result = simulation.run(until=1)
    (change,) = [event for event in result.events if isinstance(event, CircuitChanged)]
    assert (change.scope, change.after, change.time) == (scope, "open", 0.0)
    assert 30.0 <= (change.open_for or 0) <= 60.0


@pytest.mark.parametrize("kind", ["bad_request", "content_policy", "context_length", "local_limit", "plugin"])
def test_neutral_kinds_move_nothing(kind, caplog):
    simulation = one_target(always(Fails(kind, after=0.0)))
    each_second(simulation, 30)
    result = simulation.run()
    assert len(result.attempts) == 30
    assert moves(result.events) == []
    assert not caplog.records


def test_cancelled_requests_move_nothing():
    simulation = one_target(always(Hangs()))
    for second in range(30):
        simulation.request(at=second, cancel_after=0.5)
    result = simulation.run()
    assert len(result.attempts) == 30
    assert moves(result.events) == []


def test_a_timeout_counts_but_not_when_the_deadline_had_cut_the_attempt_short():
    simulation = one_target(always(Hangs()), router={"attempt_timeout": 1.0, "reserve": 0})
    each_second(simulation, 5)
    assert moves(simulation.run().events) == ["target only/small open"]
    simulation = one_target(always(Hangs()), router={"attempt_timeout": 1.0, "reserve": 0})
    each_second(simulation, 30, deadline=0.5)
    assert moves(simulation.run().events) == []


@pytest.mark.parametrize("deadline", [8.0, 20.0, 30.0])
def test_a_target_that_hangs_is_shut_also_where_the_reserve_for_others_makes_its_time_short(deadline):
    """With these deadlines no attempt ever has its whole attempt_timeout."""
    config = routes(models=["small"], router={"deadline": deadline})
    simulation = Simulation(config, by_target({"proxy": Hangs()}))
    calls = each_second(simulation, 120)
    simulation.run()
    assert all(call.answered for call in calls)
    assert sum(call.duration < 1.0 for call in calls) > 60


def test_a_stream_that_breaks_counts():
    simulation = one_target(always(Breaks(0.1, 0.1)))
    each_second(simulation, 5, stream=True)
    assert moves(simulation.run().events) == ["target only/small open"]


def test_a_server_that_answers_with_a_models_failure_is_there_itself():
    down = Fails("connect", after=0.01)
    script = in_turn(down, down, down, down, FAST, down, down, down, down)
    simulation = one_target(script)
    each_second(simulation, 9)
    assert moves(simulation.run().events) == []


# Looking again


def test_when_its_time_is_over_one_of_a_crowd_looks_and_the_others_are_told_to_come_back():
    simulation = one_target(until(10.0, FAST), router={"attempt_timeout": 30.0})
    each_second(simulation, 5)
    crowd = [simulation.request(at=10.0) for _ in range(20)]
    result = simulation.run()
    assert len(result.attempts) == 6
    assert [call.answered for call in crowd] == [True] + [False] * 19
    for refused in crowd[1:]:
        assert isinstance(refused.error, AllTargetsFailed)
        assert (refused.error.retry_after or 0) > 0
        assert refused.error.attempts == ()
    assert moves(result.events)[-1] == "target only/small closed"


def test_a_probe_that_fails_opens_it_again_for_longer():
    simulation = one_target(until(1000.0, FAST))
    each_second(simulation, 400)
    changes = [event for event in simulation.run().events if isinstance(event, CircuitChanged)]
    pauses = [event.open_for or 0.0 for event in changes if event.after == "open"]
    assert len(pauses) >= 6
    for number, pause in enumerate(pauses):
        longest = min(5.0 * 2**number, 120.0)
        assert longest / 2 <= pause <= longest


def test_a_probe_that_is_cancelled_leaves_its_place_to_the_next_request():
    simulation = one_target(in_turn(*[FAST] * 5, Hangs()))
    each_second(simulation, 5)
    probe = simulation.request(at=20.0, cancel_after=1.0)
    kept_out = simulation.request(at=20.5)
    next_one = simulation.request(at=22.0)
    simulation.run()
    assert probe.decision is not None
    assert probe.decision.outcome == "cancelled"
    assert not kept_out.answered
    assert next_one.answered


def test_a_probe_keeps_others_out_for_as_long_as_its_request_may_last():
    """However long that is: a long stream, say."""
    slow = Answers(after=150.0)
    router = {"deadline": 300.0, "attempt_timeout": 300.0}
    simulation = one_target(in_turn(*[FAST] * 5, slow), router=router)
    each_second(simulation, 5)
    probe = simulation.request(at=20.0)
    others = [simulation.request(at=20.0 + later) for later in (1.0, 70.0, 140.0)]
    after = simulation.request(at=171.0)
    simulation.run()
    assert probe.answered
    assert not any(call.answered for call in others)
    assert after.answered


def test_attempts_from_before_it_opened_do_not_close_it():
    slow = Answers(after=8.0)
    simulation = one_target(in_turn(slow, *[FAST] * 5))
    early = simulation.request(at=0.0)
    for _ in range(5):
        simulation.request(at=1.0)
    refused = simulation.request(at=3.0)
    result = simulation.run()
    assert early.answered
    assert not refused.answered
    assert moves(result.events) == ["target only/small open"]


def test_a_breaker_that_is_switched_off_shuts_nothing():
    simulation = one_target(always(FAST), breaker=OFF)
    each_second(simulation, 50)
    result = simulation.run()
    assert len(result.attempts) == 50
    assert moves(result.events) == []
    assert simulation.health() == ()


def test_its_limits_are_settings():
    simulation = one_target(always(FAST), breaker={"failures_in_a_row": 2, "open_for": "1m", "open_at_most": "1h"})
    each_second(simulation, 20)
    assert len(simulation.run().attempts) == 2


# Who is told


def test_health_says_what_is_shut_why_and_for_how_long():
    simulation = one_target(always(FAST))
    each_second(simulation, 5)
    simulation.run(until=4.5)
    by_scope = {status.scope: status for status in simulation.health()}
    target = by_scope["target"]
    assert (target.plugin, target.name, target.state) == ("breaker", "only/small", "open")
    assert target.why == "5 failures in a row: simulated: server"
    assert target.retry_after is not None
    assert 0 < target.retry_after <= 5
    assert by_scope["backend"].state == by_scope["quota"].state == "closed"
    assert by_scope["backend"].retry_after is None


def test_a_router_tells_its_health_and_its_sinks(caplog):
    sink = Collecting()
    config = table(["small"], {"only": Scripted([failure("server")] * 5)}, plugins={"breaker": {}, "sink": sink})
    with Router(config) as router:
        assert router.health() == ()
        for _ in range(5):
            with pytest.raises(AllTargetsFailed):
                router.complete("hello")
        assert {status.name: status.state for status in router.health()}["only/small"] == "open"
        with pytest.raises(AllTargetsFailed, match=r"nothing was tried: .* is open") as refused:
            router.complete("hello")
        assert refused.value.retry_after is not None
        router.flush()
    (change,) = sink.circuits
    assert (change.scope, change.name, change.before, change.after) == ("target", "only/small", "closed", "open")
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("kind", ["auth", "payment"])
def test_what_only_a_person_can_put_right_is_logged_loudly_and_once(kind, caplog):
    simulation = one_target(always(Fails(kind, after=0.01)))
    each_second(simulation, 400)
    result = simulation.run()
    assert len(result.attempts) > 2
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.getMessage() == f"backend only: simulated: {kind}; nothing but a person can put this right"


# Real threads and loops


def test_a_crowd_of_threads_sends_one_probe():
    """Twenty callers at once, when its time is over: the trap that most circuit breakers fall into."""
    backend = Scripted([failure("server")] * 2)
    settings = {"failures_in_a_row": 2, "open_for": 0.05}
    with Router(table(["small"], {"only": backend}, plugins={"breaker": settings})) as router:
        for _ in range(2):
            with pytest.raises(AllTargetsFailed):
                router.complete("hello")
        threading.Event().wait(0.06)
        backend.script = [for_ever]
        backend._steps = None
        ends: list[object] = []

        def ask() -> None:
            try:
                ends.append(router.complete("hello", deadline=0.5))
            except AllTargetsFailed as error:
                ends.append(error)
            except TimeoutError as error:
                ends.append(error)

        crowd = [threading.Thread(target=ask) for _ in range(20)]
        for one in crowd:
            one.start()
        for one in crowd:
            one.join()
    assert len(backend.calls) == 3
    assert sum(isinstance(end, AllTargetsFailed) for end in ends) == 19


def test_five_loops_in_a_row_share_what_the_breaker_knows():
    backend = Scripted([failure("server")] * 100)
    router = Router(table(["small"], {"only": backend}, plugins={"breaker": {}}))

    async def ask() -> None:
        for _ in range(2):
            with pytest.raises(AllTargetsFailed):
                await router.acomplete("hello")

    for _ in range(5):
        asyncio.run(ask())
    router.close()
    assert len(backend.calls) == 5


def test_a_whole_answer_settles_once_and_for_the_target_that_gave_it():
    simulation = Simulation(routes(), by_target({"proxy/small": FAST}))
    call = simulation.request(at=0)
    simulation.run()
    assert [str(one.target) for one in decided(call.completion).attempts] == ["proxy/small", "proxy/large"]
    assert failed(decided(call.completion).attempts[0]).kind == "server"
    states = {(status.scope, status.name): status.state for status in simulation.health()}
    assert set(states.values()) == {"closed"}


def test_every_change_is_told(caplog):
    simulation = one_target(until(10.0, FAST))
    each_second(simulation, 5)
    simulation.request(at=11.0)
    assert moves(simulation.run().events) == [
        "target only/small open",
        "target only/small half_open",
        "target only/small closed",
    ]
    assert not caplog.records


def test_a_request_without_an_answer_is_no_sign_of_life():
    """A timeout blames the model, and says nothing of whether its backend is there."""
    down = Fails("connect", after=0.01)
    simulation = one_target(in_turn(down, down, down, down, Hangs(), down), router={"attempt_timeout": 0.5})
    each_second(simulation, 6)
    assert moves(simulation.run().events) == ["backend only open"]


def test_a_models_failure_does_not_give_a_spent_quota_back():
    limited = Failure.of("rate_limit", "slow down", retry_after=5.0)
    simulation = one_target(in_turn(Fails(limited, after=0.0), FAST))
    simulation.request(at=0)
    simulation.request(at=6)
    assert moves(simulation.run().events) == ["quota account of only open", "quota account of only half_open"]


def test_the_permit_of_another_gate_is_refused():
    target = Target(model="small", backend="only", name="x")
    context = DecisionContext(from_config(table()), 7, Clock())
    for gate in (Breaker(), Limits()):
        with pytest.raises(TypeError, match="a permit of another gate: Permit"):
            gate.settle(Permit(target), "answered", None, context)
    store = Breaker()._here.here().store
    with pytest.raises(TypeError, match="a lease of another store: Lease"):
        store.succeed(Lease(), 0.0)


@pytest.mark.parametrize(
    ("settings", "before", "opens"),
    [
        ({"failures_in_a_row": 3, "of_at_least": 1000}, "fails fails answers fails fails", False),
        ({"failures_in_a_row": 3, "of_at_least": 1000}, "fails answers fails fails fails", True),
        ({"failures_in_a_row": 1000, "of_at_least": 4}, "answers answers answers fails fails", False),
        ({"failures_in_a_row": 1000, "of_at_least": 4}, "answers answers fails fails", True),
    ],
)
def test_answers_count_while_nothing_moves(settings, before, opens):
    store = Breaker(**settings)._here.here().store
    keys = (CircuitKey("target", "a/small"),)
    lease, _ = store.admit(keys, 0.0, 0.0)
    assert isinstance(lease, Lease)
    moved = []
    for word in before.split():
        assert store.still_holds(lease)
        moved += (
            store.succeed(lease, 1.0)
            if word == "answers"
            else store.settle(lease, ["failed"], "", 1.0, Random(7).random)
        )
    assert bool(moved) is opens


def test_a_store_lets_one_probe_through_and_says_which_circuit_stays_shut_the_longest():
    store = Breaker()._here.here().store
    one, other = CircuitKey("target", "a/small"), CircuitKey("backend", "a")
    for key, seconds in ((one, 5.0), (other, 9.0)):
        lease, _ = store.admit((key,), 0.0, 0.0)
        assert isinstance(lease, Lease)
        store.settle(lease, [Opens(seconds)], "down", 0.0, Random(7).random)
    shut, _ = store.admit((one, other), 1.0, 0.0)
    assert isinstance(shut, Shut)
    assert (shut.key, shut.retry_after) == (other, 8.0)
    probe, _ = store.admit((one,), 6.0, 0.0)
    assert isinstance(probe, Lease)
    assert not store.still_holds(probe)
    for _ in range(3):
        assert isinstance(store.admit((one,), 7.0, 0.0)[0], Shut)
