"""What a plan tells whoever carries it out, and what its errors carry."""

import pytest

from pointsman.decision import Assignment
from pointsman.errors import AllTargetsFailed, ContextLength, DeadlineExceeded, NoTarget, PluginError, StreamInterrupted
from pointsman.loading import from_config
from pointsman.plan import Attempt, Committed, Failed, Pause, Relay, TimedOut, explain, plan
from pointsman.verdicts import Next, Selection, SkipTarget, WaitUntil
from tests.core.support import (
    Clock,
    Deciding,
    Gatekeeper,
    Scripted,
    Selecting,
    answer,
    chat,
    drive,
    failure,
    recorder,
    table,
)


def test_attempts_are_numbered_from_one():
    run = drive(table(), [failure(), failure("connect")])
    assert [attempt.number for attempt in run.attempts] == [1, 2, 3]


def test_no_stream_is_asked_of_a_backend_that_does_not_stream():
    run = drive(table(["small"]), request=chat(stream=True))
    assert run.tried == []
    assert isinstance(run.error, AllTargetsFailed)
    assert [(skip.plugin, skip.why) for skip in run.decision.skipped] == [
        ("proxy", "this backend does not stream"),
        ("direct", "this backend does not stream"),
    ]


@pytest.mark.parametrize("after", [0.5, 9.9])
def test_the_relay_is_told_the_idle_limit_and_the_time_that_is_left(after):
    clock = Clock()
    steps = plan(recorder(from_config(table(["small"], router={"idle_timeout": 3})), chat(), clock), 10.0)
    attempt = next(steps)
    assert isinstance(attempt, Attempt)
    assert attempt.time_left == 10.0
    clock.now += after
    relay = steps.send(Committed(clock.now))
    assert isinstance(relay, Relay)
    assert (relay.idle_timeout, relay.time_left) == (3.0, pytest.approx(10.0 - after))
    with pytest.raises(StreamInterrupted) as broken:
        steps.send(Failed(failure(), answer("half")))
    assert broken.value.partial == answer("half")


@pytest.mark.parametrize(
    ("after", "effect", "why"),
    [(1.0, "counts", "nothing more came in time"), (10.0, "neutral", "the deadline passed")],
)
def test_a_stream_that_falls_silent_is_held_against_its_server_unless_the_deadline_ended_it(after, effect, why):
    clock = Clock()
    steps = plan(recorder(from_config(table(["small"])), chat(), clock), 10.0)
    next(steps)
    steps.send(Committed(clock.now))
    clock.now += after
    with pytest.raises(StreamInterrupted) as broken:
        steps.send(TimedOut(answer("half")))
    (attempt,) = broken.value.attempts
    assert attempt.failure is not None
    assert (attempt.failure.kind, attempt.failure.breaker) == ("interrupted", effect)
    assert attempt.failure.message == why
    assert broken.value.partial == answer("half")


def test_a_step_that_assigns_nothing_keeps_the_assignment():
    later = Selecting(lambda request, candidates, ctx: Selection(candidates, why="as it was"))
    decision = drive(table(plugins={"later": later}, order={"select_model": ["tasks", "rollout", "later"]})).decision
    assert isinstance(decision.assignment, Assignment)
    assert decision.assignment.path == "only"


@pytest.mark.parametrize(("why", "told"), [("short letters", "short letters"), ("", "the models of chat")])
def test_the_first_step_says_why_its_task_has_these_models(why, told):
    run = drive(table(["small"], tasks={"chat": {"models": ["small"], "why": why}}))
    assert run.decision.steps[0].why == told


def test_a_task_does_not_bring_back_what_an_earlier_step_left_out():
    large = Selecting(
        lambda request, candidates, ctx: Selection([t for t in candidates if t.model == "large"], why="!")
    )
    run = drive(table(plugins={"pin": large}, order={"select_model": ["pin", "tasks", "rollout"]}))
    assert [str(target) for target in run.decision.candidates] == ["proxy/large", "direct/large"]


def test_an_explanation_that_fails_carries_the_decision():
    nothing = Selecting(lambda request, candidates, ctx: Selection((), why="closed"))
    made = from_config(table(plugins={"nothing": nothing}))
    with pytest.raises(NoTarget) as error:
        explain(recorder(made, chat(), Clock()))
    assert error.value.decision is not None
    assert error.value.decision.steps[-1].why == "closed"


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        (lambda now: WaitUntil(now + 7.0, why="busy"), 7.0),
        (lambda now: WaitUntil(now - 7.0, why="just opened"), 0.0),
        (lambda now: SkipTarget("shut", retry_after=4.0), 4.0),
        (lambda now: SkipTarget("shut"), None),
    ],
)
def test_a_skip_says_in_how_many_seconds_to_come_back(refusal, told):
    gate = Gatekeeper(lambda target, ctx: refusal(ctx.now) if target.model == "small" else None)
    (skip, *_) = drive(table(["small", "large"], {"only": Scripted()}, plugins={"gate": gate})).decision.skipped
    assert skip.retry_after == told


def test_after_a_pause_that_lasted_too_long_the_gate_is_not_asked():
    clock, gate = Clock(), Gatekeeper()
    waits = Deciding(lambda request, failure, state: Next(state.candidates[-1], after=5))
    steps = plan(recorder(from_config(table(plugins={"waits": waits, "gate": gate})), chat(), clock), 10)
    next(steps)
    assert steps.send(Failed(failure())) == Pause(5)
    clock.now += 11
    with pytest.raises(DeadlineExceeded):
        steps.send(None)
    assert gate.outcomes == ["failed"]


def test_the_only_candidate_has_all_the_time():
    run = drive(table(["small"], {"only": Scripted()}), deadline=20)
    assert run.attempts[0].time_limit == 20


def test_who_comes_last_has_all_the_time_that_is_left():
    run = drive(table(["small", "large"], {"only": Scripted()}), [failure("not_found")], deadline=20)
    assert [attempt.time_limit for attempt in run.attempts] == [15, 20]


def test_who_is_left_when_the_gate_has_refused_the_others_has_all_the_time():
    gate = Gatekeeper(lambda target, ctx: SkipTarget("shut") if target.model == "small" else None)
    run = drive(table(["small", "large"], {"only": Scripted()}, plugins={"gate": gate}), deadline=20)
    assert [attempt.time_limit for attempt in run.attempts] == [20]


def test_a_millisecond_is_the_least_that_an_attempt_has_and_enough_for_one():
    clock = Clock(0.0)
    attempt = next(plan(recorder(from_config(table()), chat(), clock), 0.001))
    assert isinstance(attempt, Attempt)
    assert attempt.time_limit == 0.001


def test_a_stream_that_falls_silent_a_millisecond_before_the_deadline_fell_silent_by_itself():
    clock = Clock(0.0)
    steps = plan(recorder(from_config(table()), chat(), clock), 0.002)
    next(steps)
    steps.send(Committed(clock.now))
    clock.now = 0.001
    with pytest.raises(StreamInterrupted, match="nothing more came in time"):
        steps.send(TimedOut())


def test_a_deadline_that_is_no_sooner_than_the_limit_clips_nothing():
    run = drive(table(["small"], {"only": Scripted()}, router={"attempt_timeout": 30}), [TimedOut()], deadline=30)
    (attempt,) = run.decision.attempts
    assert attempt.failure is not None
    assert attempt.failure.breaker == "counts"


def test_who_waits_for_the_gate_waits_as_long_as_the_policy_says_too():
    busy = iter([False, True, False])
    gate = Gatekeeper(lambda target, ctx: WaitUntil(ctx.now + 1, why="busy") if next(busy) else None)
    patient = Deciding(lambda request, failure, state: None if state.skipped else Next(state.candidates[0], after=5))
    made = table(["small"], {"only": Scripted()}, plugins={"gate": gate, "patient": patient})
    assert drive(made, [failure("server")]).pauses == [5, 5]


def test_the_last_attempt_goes_to_a_new_backend_and_says_so_only_where_it_had_to_be_kept():
    made = table(["small", "large"], {"a": Scripted(), "b": Scripted()}, router={"max_attempts": 2})
    kept = drive(made, [failure()]).decision.attempts[-1]
    assert (str(kept.target), kept.why) == (
        "b/small",
        "after server on a/small, the last attempt is for a backend not yet tried",
    )
    made["models"]["large"] = {"on": {"b": "x"}}
    next_one = drive(made, [failure()]).decision.attempts[-1]
    assert (str(next_one.target), next_one.why) == ("b/small", "after server on a/small")
    made["models"]["large"] = {"on": {"a": "x"}}
    only = drive(made, [failure()]).decision.attempts[-1]
    assert str(only.target) == "b/small"


def test_a_prompt_that_an_unknown_context_was_too_small_for_goes_nowhere_else():
    made = table(["small", "large"], {"only": Scripted()})
    made["models"]["large"]["context"] = 8000
    run = drive(made, [failure("context_length")])
    assert run.tried == ["only/small"]
    assert isinstance(run.error, ContextLength)


# What a request ends with


def test_a_request_that_is_at_fault_is_told_so():
    run = drive(table(), [failure("bad_request")])
    assert str(run.error).startswith("the request itself is at fault; attempt 1")


@pytest.mark.parametrize(("known", "hook"), [({"code": "stream"}, "stream"), ({}, "complete")])
def test_a_backend_at_fault_is_named_with_its_hook(known, hook):
    run = drive(table(["small"], {"only": Scripted()}), [failure("plugin", **known)])
    assert isinstance(run.error, PluginError)
    assert (run.error.plugin, run.error.hook) == ("only", hook)


@pytest.mark.parametrize(
    ("kind", "blames", "effect"),
    [
        ("content_policy", "model", "counts"),
        ("auth", "backend", "opens"),
        ("timeout", "model", "counts"),
    ],
)
def test_what_breaks_a_stream_is_blamed_as_ever_but_never_the_request(kind, blames, effect):
    steps = plan(recorder(from_config(table()), chat(), Clock()), 10.0)
    next(steps)
    steps.send(Committed(1000.0))
    with pytest.raises(StreamInterrupted) as broken:
        steps.send(Failed(failure(kind)))
    (attempt,) = broken.value.attempts
    assert attempt.failure is not None
    assert (attempt.failure.kind, attempt.failure.blames, attempt.failure.breaker) == ("interrupted", blames, effect)


def test_ctrl_c_in_a_last_resort_is_raised():
    def last_resort(request):
        raise KeyboardInterrupt

    made = table(["small"], {"only": Scripted()}, tasks={"chat": {"models": ["small"], "last_resort": last_resort}})
    with pytest.raises(KeyboardInterrupt):
        drive(made, [failure("auth")])


@pytest.mark.parametrize(
    ("models", "router", "deadline", "effect"),
    [
        # Half of what the only candidate has by the configuration, which is all of it, or the attempt's limit.
        (["small"], {"deadline": 20}, 9, "neutral"),
        (["small"], {"deadline": 20}, 11, "counts"),
        (["small"], {"deadline": 60, "attempt_timeout": 30}, 14, "neutral"),
        (["small"], {"deadline": 60, "attempt_timeout": 30}, 20, "counts"),
        # Four candidates, of which the budget allows one.
        (["small", "large", "third", "fourth"], {"deadline": 20, "max_attempts": 1}, 9, "neutral"),
    ],
)
def test_a_timeout_counts_where_it_had_more_than_half_of_the_usual_time(models, router, deadline, effect):
    run = drive(table(models, {"only": Scripted()}, router=router), lambda _: TimedOut(), deadline=deadline)
    first = run.decision.attempts[0]
    assert first.failure is not None
    assert first.failure.breaker == effect


def test_a_time_that_no_clock_can_reach_is_no_time():
    gate = Gatekeeper(lambda target, ctx: WaitUntil(10**400, why="busy"))
    run = drive(table(plugins={"gate": gate}))
    assert isinstance(run.error, PluginError)
    assert run.error.plugin == "gate"


def test_a_gate_that_opens_in_the_past_is_asked_again_in_a_millisecond():
    busy = iter([True, False])
    gate = Gatekeeper(lambda target, ctx: WaitUntil(ctx.now - 1, why="busy") if next(busy) else None)
    assert drive(table(["small"], {"only": Scripted()}, plugins={"gate": gate})).pauses == [0.001]
