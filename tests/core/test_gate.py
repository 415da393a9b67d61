"""The gate: permits, skips and waits before each attempt, and word of how each one ended."""

import asyncio
import logging
from math import inf

import pytest

from pointsman import Router
from pointsman.errors import AllTargetsFailed, BadRequest, ContextLength, DeadlineExceeded, PluginError, RouteError
from pointsman.events import AttemptStarted
from pointsman.plan import TimedOut
from pointsman.verdicts import Permit, SkipTarget, WaitUntil
from tests.core.support import (
    Collecting,
    Gatekeeper,
    Scripted,
    answer,
    drive,
    failure,
    for_ever,
    story,
    swallowing_cancellation,
    table,
)

MODELS = ("one", "two", "three")


def config(*gates, models=MODELS, backends=("proxy",), **sections):
    plugins = {f"gate{place}": gate for place, gate in enumerate(gates)}
    return table(models, {name: Scripted() for name in backends}, plugins=plugins, **sections)


def skipping(*models, **known):
    return lambda target, ctx: SkipTarget("shut", **known) if target.model in models else Permit(target)


def waiting(**seconds):
    """A gate that opens for each model so many seconds after it was first asked."""
    opens = {}

    def rule(target, ctx):
        until = opens.setdefault(target.model, ctx.now + seconds.get(target.model, 0))
        return WaitUntil(until, why="busy") if until > ctx.now else Permit(target)

    return rule


# Permits


def test_everyone_at_the_gate_is_asked_about_the_target_and_told_how_it_ended():
    gates = [Gatekeeper(), Gatekeeper()]
    came = failure("not_found")
    run = drive(config(*gates), [came, answer()])
    assert run.tried == ["proxy/one", "proxy/two"]
    for gate in gates:
        assert [permit.target.model for permit in gate.given] == ["one", "two"]
        assert [(outcome, why) for _, outcome, why in gate.settled] == [("failed", came), ("answered", None)]
        gate.check()


def test_a_gate_without_an_opinion_gives_no_permit_and_hears_nothing():
    gate = Gatekeeper(lambda target, ctx: None)
    assert drive(config(gate)).answer is not None
    assert gate.settled == []


def test_a_lease_travels_in_a_permit_of_the_plugins_own():
    class Lease(Permit):
        pass

    gate = Gatekeeper(lambda target, ctx: Lease(target))
    drive(config(gate))
    assert [type(permit) for permit, _, _ in gate.settled] == [Lease]


# Skips


def test_a_refused_target_is_skipped_with_its_reason_and_costs_no_attempt():
    run = drive(config(Gatekeeper(skipping("one", "two", retry_after=9.0)), router={"max_attempts": 1}))
    assert run.tried == ["proxy/three"]
    assert [(str(skip.target), skip.why, skip.plugin, skip.retry_after) for skip in run.decision.skipped] == [
        ("proxy/one", "shut", "gate0", 9.0),
        ("proxy/two", "shut", "gate0", 9.0),
    ]


def test_a_target_that_the_policy_names_can_be_refused_and_the_policy_is_asked_again():
    run = drive(config(Gatekeeper(skipping("two"))), [failure("not_found")])
    assert run.tried == ["proxy/one", "proxy/three"]


def test_when_the_gate_is_shut_for_all_the_request_fails_at_once_with_the_time_to_come_back():
    times = {"one": 30.0, "two": 12.0, "three": None}
    run = drive(config(Gatekeeper(lambda target, ctx: SkipTarget("open", retry_after=times[target.model]))))
    assert isinstance(run.error, AllTargetsFailed)
    assert run.error.retry_after == 12.0
    assert run.error.attempts == ()
    assert "nothing was tried" in str(run.error)
    assert run.took == 0


def test_a_permit_is_settled_unused_when_another_gate_refuses():
    first, third = Gatekeeper(), Gatekeeper()
    run = drive(config(first, Gatekeeper(skipping("one")), third))
    assert run.tried == ["proxy/two"]
    assert first.outcomes == [None, "answered"]
    assert third.outcomes == ["answered"]
    first.check()


@pytest.mark.parametrize("error", [BadRequest("refused"), ValueError(), SystemExit(1), KeyboardInterrupt()])
def test_a_permit_is_settled_unused_when_another_gate_raises(error):
    def rule(target, ctx):
        raise error

    first = Gatekeeper()
    if isinstance(error, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            drive(config(first, Gatekeeper(rule)))
    else:
        expected = type(error) if isinstance(error, RouteError) else PluginError
        assert type(drive(config(first, Gatekeeper(rule))).error) is expected
    assert first.outcomes == [None]
    first.check()


# Waits


def test_a_busy_target_is_passed_by_while_another_is_left():
    run = drive(config(Gatekeeper(waiting(one=3))))
    assert run.tried == ["proxy/two"]
    assert run.pauses == []


def test_waiting_is_for_when_nothing_else_is_left_and_for_the_first_that_opens():
    gate = Gatekeeper(waiting(one=9, two=4, three=6))
    run = drive(config(gate))
    assert run.tried == ["proxy/two"]
    assert run.pauses == [4]
    assert "the gate opens" in run.decision.attempts[0].why
    gate.check()


def test_what_was_waited_for_and_tried_was_not_skipped():
    run = drive(config(Gatekeeper(waiting(one=9, two=4, three=6))))
    assert [skip.target.model for skip in run.decision.skipped] == ["one", "three"]
    run = drive(config(Gatekeeper(waiting(one=9, two=4, three=70))), lambda _: failure("not_found"))
    assert run.tried == ["proxy/two", "proxy/one"]
    assert [skip.target.model for skip in run.decision.skipped] == ["three"]
    assert isinstance(run.error, RouteError)
    assert run.error.retry_after == 70


def test_a_gate_that_never_opens_names_no_time_to_come_back():
    for verdict in (WaitUntil(inf, why="shut"), SkipTarget("shut", retry_after=inf)):
        run = drive(config(Gatekeeper(lambda target, ctx, verdict=verdict: verdict)))
        assert isinstance(run.error, AllTargetsFailed)
        assert run.error.retry_after is None
        assert {skip.retry_after for skip in run.decision.skipped} == {None}


def test_after_failures_a_busy_target_is_waited_for():
    run = drive(config(Gatekeeper(waiting(one=3))), [failure("not_found"), failure("not_found")])
    assert run.tried == ["proxy/two", "proxy/three", "proxy/one"]
    assert run.pauses == [3]
    assert run.answer is not None


def test_a_wait_that_would_pass_the_deadline_fails_at_once_and_says_when():
    run = drive(config(Gatekeeper(waiting(one=90, two=80, three=70))), deadline=60)
    assert run.pauses == []
    assert run.took == 0
    assert isinstance(run.error, AllTargetsFailed)
    assert run.error.retry_after == 70


def test_nothing_is_waited_for_once_the_budget_is_spent():
    run = drive(config(Gatekeeper(waiting(one=3)), router={"max_attempts": 2}), [failure("not_found")] * 2)
    assert run.tried == ["proxy/two", "proxy/three"]
    assert run.pauses == []


@pytest.mark.parametrize("kind", ["bad_request", "content_policy"])
def test_nothing_is_waited_for_when_the_request_is_at_fault(kind):
    run = drive(config(Gatekeeper(waiting(one=3))), [failure(kind)])
    assert run.tried == ["proxy/two"]
    assert run.pauses == []
    assert isinstance(run.error, BadRequest)


@pytest.mark.parametrize("kind", ["connect", "auth", "rate_limit"])
def test_nothing_is_waited_for_that_a_failure_has_ruled_out(kind):
    run = drive(config(Gatekeeper(waiting(one=3))), [failure(kind)])
    assert run.tried == ["proxy/two"]
    assert run.pauses == []
    assert run.took == 0


def test_a_prompt_that_is_too_long_waits_for_a_larger_context_only():
    def made(**contexts):
        table = config(Gatekeeper(waiting(one=3)), models=("one", "two"))
        for model, context in contexts.items():
            table["models"][model]["context"] = context
        return table

    run = drive(made(one=128_000, two=8_000), [failure("context_length")])
    assert run.tried == ["proxy/two", "proxy/one"]
    assert run.pauses == [3]
    run = drive(made(one=4_000, two=8_000), [failure("context_length")])
    assert run.tried == ["proxy/two"]
    assert type(run.error) is ContextLength


def test_a_gate_that_stays_busy_is_asked_again_and_again_until_the_deadline():
    always = Gatekeeper(lambda target, ctx: WaitUntil(ctx.now + 1, why="busy"))
    run = drive(config(always), deadline=10)
    assert 9 <= run.took <= 10
    assert len(run.pauses) <= 3 * 10
    assert [skip.why for skip in run.decision.skipped] == ["busy"] * 3


def test_a_gate_that_opens_in_the_past_does_not_spin():
    always = Gatekeeper(lambda target, ctx: WaitUntil(ctx.now - 1, why="busy"))
    run = drive(config(always), deadline=0.5)
    assert len(run.pauses) <= 500
    assert isinstance(run.error, RouteError)
    assert len(run.decision.skipped) == 3


def test_a_gate_that_takes_too_long_leaves_no_time_for_an_attempt():
    def dawdle(target, ctx):
        ctx.clock.now += 100
        return Permit(target)

    gate = Gatekeeper(dawdle)
    run = drive(config(gate), deadline=60)
    assert run.tried == []
    assert type(run.error) is DeadlineExceeded
    assert gate.outcomes == [None]
    gate.check()


# Settled exactly once, however it ends

ENDINGS = {
    "answered": ([answer()], ["answered"]),
    "failed": ([failure("bad_request")], ["failed"]),
    "timed out": ([TimedOut()] * 3, ["failed"] * 2),
    "failed, then answered": ([failure("not_found"), answer()], ["failed", "answered"]),
}


@pytest.mark.parametrize(("script", "outcomes"), ENDINGS.values(), ids=ENDINGS)
def test_a_permit_is_settled_once_however_the_attempt_ends(script, outcomes):
    gate = Gatekeeper()
    drive(config(gate), script)
    assert gate.outcomes == outcomes
    gate.check()


@pytest.mark.parametrize("hang", [for_ever, swallowing_cancellation])
@pytest.mark.parametrize("end", ["cancelled", "timed out"])
def test_a_permit_is_settled_once_when_the_backend_hangs(hang, end, caplog):
    gate, sink = Gatekeeper(), Collecting()
    made = table(("one",), {"proxy": Scripted([hang])}, plugins={"gate": gate, "sink": sink})

    async def main():
        async with Router(made) as router:
            request = asyncio.create_task(router.acomplete("hello", deadline=0.05 if end == "timed out" else 30))
            if end == "cancelled":
                await asyncio.sleep(0.02)
                request.cancel()
            with pytest.raises((RouteError, asyncio.CancelledError)):
                await request
            assert gate.outcomes == ["cancelled" if end == "cancelled" else "failed"]

    asyncio.run(main())
    gate.check()
    story(sink.events)


def test_a_settle_that_raises_is_logged_and_harms_nobody(caplog):
    for error in (ValueError("secret prompt"), SystemExit("secret prompt")):
        caplog.clear()
        before, after = Gatekeeper(), Gatekeeper()
        rogue = Gatekeeper()
        rogue.settled = Refusing(error)
        run = drive(config(before, rogue, after))
        assert run.answer is not None
        assert before.outcomes == after.outcomes == ["answered"]
        (logged,) = caplog.records
        assert logged.levelno == logging.ERROR
        assert logged.exc_info is None
        assert "gate1" in logged.getMessage()
        assert "settle" in logged.getMessage()
        assert "secret prompt" not in caplog.text


class Refusing(list):
    def __init__(self, error):
        self.error = error

    def append(self, _):
        raise self.error


def test_a_gate_sees_the_attempt_before_it_is_announced():
    seen = []

    def rule(target, ctx):
        seen.append(target)
        return SkipTarget("no") if target.model == "one" else None

    run = drive(config(Gatekeeper(rule)))
    announced = [event.target for event in run.events if isinstance(event, AttemptStarted)]
    assert [target.model for target in seen] == ["one", "two"]
    assert [target.model for target in announced] == ["two"]
