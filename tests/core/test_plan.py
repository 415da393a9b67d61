"""One request, decided without I/O: time, ends, records, and plugins that misbehave."""

import asyncio
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman.errors import (
    AllTargetsFailed,
    BadRequest,
    DeadlineExceeded,
    NoTarget,
    PluginError,
    RouteError,
)
from pointsman.events import AttemptFinished, RequestFinished
from pointsman.loading import from_config
from pointsman.plan import Attempt, Failed, Pause, TimedOut, plan
from pointsman.targets import Target
from pointsman.verdicts import Next, Permit, Selection, SkipTarget, Stop, WaitUntil
from tests.core.support import (
    Clock,
    Deciding,
    Gatekeeper,
    Scripted,
    Selecting,
    answer,
    chat,
    drive,
    ending,
    failed,
    failure,
    recorder,
    story,
    table,
)
from tests.faults.table import proves, row

MANY = ("one", "two", "three", "four")
STRANGER = Target(model="nobody", backend="nowhere", name="knows")


def config(models=MANY, backends=("proxy",), **sections):
    return table(models, {name: Scripted() for name in backends}, **sections)


# One deadline over everything


def test_an_attempt_leaves_the_reserve_for_each_that_may_follow():
    made = config(router={"attempt_timeout": 100, "reserve": 5})
    run = drive(made, [failure("not_found")] * 3)
    assert [step.time_limit for step in run.attempts] == [45, 50, 55, 60]


def test_what_the_budget_does_not_allow_has_no_reserve():
    made = config(router={"attempt_timeout": 100, "reserve": 5, "max_attempts": 2})
    run = drive(made, [failure("not_found")])
    assert [step.time_limit for step in run.attempts] == [55, 60]


def test_with_less_time_than_the_reserves_everyone_gets_the_same():
    run = drive(config(router={"reserve": 5}), [TimedOut()] * 3, deadline=8)
    assert [step.time_limit for step in run.attempts] == [2, 2]  # two timeouts put the only backend in doubt
    run = drive(
        config(router={"reserve": 5}, plugins={"fallback": {"skip_backend_after": 9}}), [TimedOut()] * 3, deadline=8
    )
    assert [step.time_limit for step in run.attempts] == [2, 2, 2, 2]


def test_no_attempt_takes_longer_than_the_attempt_timeout():
    run = drive(config(router={"attempt_timeout": 3}), [TimedOut(), TimedOut()])
    assert [step.time_limit for step in run.attempts] == [3, 3]
    # Neither where a reserve is longer, and everyone gets the same.
    run = drive(config(router={"attempt_timeout": 3, "reserve": 100}), [TimedOut(), TimedOut()])
    assert [step.time_limit for step in run.attempts] == [3, 3]


def test_a_timeout_counts_but_is_neutral_when_the_deadline_had_clipped_it():
    def effects(**router):
        made = config(router=router, plugins={"fallback": {"skip_backend_after": 9}})
        run = drive(made, lambda _: TimedOut(), deadline=20)
        found = [failed(attempt) for attempt in run.decision.attempts]
        assert {one.kind for one in found} == {"timeout"}
        assert {one.delivery for one in found} == {"possibly_billed"}
        return [one.breaker for one in found]

    assert effects(attempt_timeout=2) == ["counts"] * 4
    assert effects(attempt_timeout=10, reserve=5) == ["neutral"] * 4
    assert effects(attempt_timeout=10, reserve=3) == ["counts", "neutral", "neutral", "neutral"]


def test_when_everything_hangs_the_error_comes_with_the_deadline():
    made = config(backends=("proxy", "direct"), router={"attempt_timeout": 100})
    run = drive(made, lambda _: TimedOut(), deadline=30)
    assert isinstance(run.error, DeadlineExceeded)
    assert isinstance(run.error, TimeoutError)
    assert run.took == 30
    assert run.decision.duration == 30
    assert {attempt.target.backend for attempt in run.decision.attempts} == {"proxy", "direct"}


def test_nothing_is_tried_after_the_deadline():
    run = drive(config(), [(70.0, failure("not_found"))], deadline=30)
    assert len(run.attempts) < 4
    assert run.took <= 30


def test_selection_that_takes_too_long_leaves_no_time_for_an_attempt():
    def dawdle(request, candidates, ctx):
        ctx.clock.now += 100

    run = drive(config(plugins={"slow": Selecting(dawdle)}), deadline=60)
    assert run.tried == []
    assert isinstance(run.error, DeadlineExceeded)


def test_a_pause_that_lasted_too_long_leaves_no_time_for_an_attempt():
    clock = Clock()
    waits = Deciding(lambda request, failure, state: Next(state.candidates[-1], after=5))
    steps = plan(recorder(from_config(config(plugins={"waits": waits})), chat(), clock), 10)
    assert isinstance(next(steps), Attempt)
    assert steps.send(Failed(failure())) == Pause(5)
    clock.now += 11
    with pytest.raises(DeadlineExceeded):
        steps.send(None)


def test_no_pause_passes_the_deadline():
    waits = Deciding(lambda request, failure, state: Next(state.candidates[-1], after=20))
    made = config(plugins={"waits": waits})
    assert drive(made, [failure()], deadline=30).pauses == [20]
    run = drive(made, [failure()], deadline=20)
    assert run.pauses == []
    assert run.took == 0
    assert isinstance(run.error, AllTargetsFailed)
    assert "would pass the deadline" in str(run.error)


# What a record says of the end


@pytest.mark.parametrize("last_resort", [None, "we are sorry"])
def test_why_a_request_ended_is_in_our_words_and_the_servers_stay_with_the_error(last_resort):
    made = config(("one",), tasks={"chat": {"models": ["one"]} | ({"last_resort": last_resort} if last_resort else {})})
    run = drive(made, [failure("not_found", detail="the server's own words")])
    assert ending(run.events).decision == run.decision
    assert run.decision.why.endswith("on proxy/one: a not_found failure")
    if run.error is not None:
        assert str(run.error) == f"{run.decision.why} [the server's own words]"


# Selection


def test_each_step_sees_what_the_last_one_left_and_the_last_has_the_last_word():
    seen = []

    def last_two(request, candidates, ctx):
        seen.append([str(target) for target in candidates])
        return Selection(candidates[-2:], why="the last two")

    def reverse(request, candidates, ctx):
        seen.append([str(target) for target in candidates])
        return Selection(reversed(candidates), why="the other way round")

    run = drive(config(plugins={"last_two": Selecting(last_two), "reverse": Selecting(reverse)}))
    assert seen == [[f"proxy/{model}" for model in MANY], ["proxy/three", "proxy/four"]]
    assert run.tried == ["proxy/four"]
    assert [(step.plugin, step.why) for step in run.decision.steps[-2:]] == [
        ("last_two", "the last two"),
        ("reverse", "the other way round"),
    ]


def test_a_step_without_an_opinion_leaves_no_trace():
    run = drive(config(plugins={"silent": Selecting(lambda request, candidates, ctx: None)}))
    assert [step.plugin for step in run.decision.steps] == ["tasks", "rollout"]


def test_an_empty_selection_is_an_error_that_names_the_step():
    nobody = Selecting(lambda request, candidates, ctx: Selection((), why="the tenant may not"))
    run = drive(config(plugins={"tenants": nobody}))
    assert isinstance(run.error, NoTarget)
    assert str(run.error) == "tenants left no target: the tenant may not"
    assert run.decision.outcome == "failed"
    assert run.tried == []


def test_a_configuration_without_a_target_says_what_to_add():
    run = drive({})
    assert isinstance(run.error, NoTarget)
    assert "add [models]" in str(run.error)


def test_an_unknown_task_or_model_is_refused_with_a_suggestion():
    unknown_task = drive(config(), request=chat(task="chatt"))
    unknown_model = drive(config(), request=chat(model="tree"))
    for run, message in (
        (unknown_task, 'unknown task "chatt".*"chat"'),
        (unknown_model, 'unknown model "tree".*"three"'),
    ):
        assert isinstance(run.error, BadRequest)
        assert run.tried == []
        with pytest.raises(BadRequest, match=message):
            raise run.error


def test_a_forced_model_is_the_only_one_tried():
    run = drive(config(backends=("proxy", "direct")), lambda _: failure("not_found"), request=chat(model="three"))
    assert run.tried == ["proxy/three", "direct/three"]
    assert run.decision.model == "three"


# Ends: cancelled, dropped, answered


def steps_of(made, clock=None):
    events = []
    return plan(recorder(from_config(made), chat(), clock or Clock(), events.append), 60), events


@pytest.mark.parametrize("error", [asyncio.CancelledError(), KeyboardInterrupt()])
def test_a_cancelled_attempt_is_recorded_settled_and_raised_on(error):
    gate = Gatekeeper()
    steps, events = steps_of(config(plugins={"gate": gate}))
    next(steps)
    with pytest.raises(type(error)):
        steps.throw(error)
    story(events)
    finished = [event for event in events if isinstance(event, AttemptFinished | RequestFinished)]
    assert [event.outcome for event in finished] == ["cancelled", "cancelled"]
    assert gate.outcomes == ["cancelled"]
    gate.check()


def test_a_dropped_plan_is_recorded_and_settled_as_abandoned():
    gate = Gatekeeper()
    steps, events = steps_of(config(plugins={"gate": gate}))
    next(steps)
    steps.close()
    story(events)
    assert [event.outcome for event in events if isinstance(event, RequestFinished)] == ["abandoned"]
    assert gate.outcomes == ["abandoned"]
    gate.check()


def test_a_plan_that_is_cancelled_in_a_pause_has_no_attempt_open():
    wait = Gatekeeper(lambda target, ctx: WaitUntil(ctx.now + 5, why="busy"))
    steps, events = steps_of(config(plugins={"gate": wait}))
    assert isinstance(next(steps), Pause)
    with pytest.raises(asyncio.CancelledError):
        steps.throw(asyncio.CancelledError())
    assert len(story(events)) == 2


def test_the_same_script_and_seed_give_the_same_decision():
    made = config(
        backends=("proxy", "direct"),
        paths={"a": ("proxy", "direct"), "b": ("direct",)},
        rollout={"control": "b", "shares": {"a": 50}, "without_unit": "draw"},
    )
    script = [(1.5, failure("connect")), (0.25, answer())]
    first, second = (drive(made, script) for _ in range(2))
    assert first.decision == second.decision
    assert first.decision.seed == 7


def test_a_wall_clock_that_is_set_back_changes_nothing_but_the_times_of_events():
    script = [(1.0, failure("not_found")), (2.0, answer())]
    back = iter([7200.0, 7201.0, 3600.0, 3601.0, 10.0, 11.0])
    steady, jumping = drive(config(), script), drive(config(), script, wall_clock=lambda: next(back))
    assert jumping.decision == steady.decision
    assert [event.time for event in jumping.events][2:4] == [3600.0, 3601.0]
    assert jumping.took == steady.took == 3.0


# Plugins that misbehave


ROGUE: Any = "secret prompt"
UNHASHABLE: Any = [ROGUE]
"""Of whatever type a plugin says they are."""


class Unrelated:
    """Nothing that any hook may return."""


class Impatient(BaseException):
    """What no `except Exception` catches."""


def raising(error):
    def call(*_):
        raise error

    return call


def returning(value):
    return lambda *_: value


MISBEHAVIOUR = {
    "raises": raising(ValueError("secret prompt")),
    "exits": raising(SystemExit("secret prompt")),
    "raises what is no Exception": raising(Impatient("secret prompt")),
    "cancels": raising(asyncio.CancelledError("secret prompt")),
    "returns another type": returning(Unrelated()),
    "returns text": returning("secret prompt"),
    "returns True": returning(True),
}

HOOKS = {
    "select_model": (
        Selecting,
        {
            "returns targets that are none": lambda *_: Selection((ROGUE, ROGUE), why="why not"),
            "assigns what is no assignment": lambda _, targets, ctx: Selection(targets, why="x", assignment=ROGUE),
        },
    ),
    "decide_fallback": (
        Deciding,
        {
            "names a stranger": returning(Next(STRANGER)),
            "names no target": returning(Next(ROGUE)),
            "names what cannot be hashed": returning(Next(UNHASHABLE)),
            "waits for text": lambda _, failure, state: Next(state.candidates[-1], after=ROGUE),
            "waits for NaN": lambda _, failure, state: Next(state.candidates[-1], after=math.nan),
        },
    ),
    "admit": (
        Gatekeeper,
        {
            "waits for text": lambda *_: WaitUntil(ROGUE, why="busy"),
            "waits for NaN": lambda *_: WaitUntil(math.nan, why="busy"),
            "skips with text for a time": lambda *_: SkipTarget("busy", retry_after=ROGUE),
        },
    ),
}


@row(41)
@pytest.mark.parametrize(
    ("hook", "plugin", "misbehave"),
    [
        pytest.param(hook, plugin, misbehave, id=f"{hook} {how}")
        for hook, (plugin, own) in HOOKS.items()
        for how, misbehave in (MISBEHAVIOUR | own).items()
    ],
)
def test_a_decision_plugin_that_misbehaves_is_named_and_not_quoted(hook, plugin, misbehave):
    gate = Gatekeeper()
    run = drive(config(plugins={"gate": gate, "rogue": plugin(misbehave)}), [failure("not_found")])
    error = run.error
    assert type(error) is PluginError
    assert (error.plugin, error.hook) == ("rogue", hook)
    assert "rogue" in str(error)
    assert hook in str(error)
    assert "secret prompt" not in str(error)
    assert error.__context__ is None
    assert run.decision.outcome == "failed"
    gate.check()


def test_a_plugin_may_end_the_request_with_an_error_of_its_own():
    class QuietHours(RouteError):
        pass

    for plugin in (Selecting, Deciding, Gatekeeper):
        run = drive(config(plugins={"quiet": plugin(raising(QuietHours("not at night")))}), [failure("not_found")])
        assert type(run.error) is QuietHours
        assert run.error.decision is not None
        assert run.error.decision.outcome == "failed"


# Whatever the plugins do, it ends

verdicts = st.sampled_from(
    [
        *("none", "stop", "next", "first", "skip", "permit", "soon", "now", "past", "later", "never", "nan"),
        *("stranger", "junk", "raise", "exit", "refuse"),
    ]
)
outcomes = st.sampled_from(
    [
        *(TimedOut(), (0.2, TimedOut()), (0.1, answer()), (0.1, failure("connect")), (0.0, failure("server"))),
        *(failure("rate_limit"), failure("bad_request"), failure("context_length"), failure("local_limit")),
    ]
)
WAITS = {"soon": 0.1, "now": 0.0, "past": -1.0, "later": 2.0, "never": math.inf, "nan": math.nan}


def behaving(script, *, kind):
    """A hook that does what the script says, over and over."""
    place = 0

    def hook(*arguments):
        nonlocal place
        do = script[place % len(script)]
        place += 1
        if do == "raise":
            raise ZeroDivisionError
        if do == "exit":
            raise SystemExit
        if do == "refuse":
            raise BadRequest("refused")
        if do == "junk":
            return 42
        return kind(do, place, *arguments)

    return hook


def a_verdict(do, place, request, failure, state):
    target = state.candidates[0 if do == "first" else place % len(state.candidates)]
    if do in WAITS:
        return Next(target, after=WAITS[do])
    return {"stop": Stop("enough"), "next": Next(target), "first": Next(target), "stranger": Next(STRANGER)}.get(do)


def an_admission(do, place, target, ctx):
    if do in WAITS:
        return WaitUntil(ctx.now + WAITS[do], why="busy")
    return {"skip": SkipTarget("no"), "permit": Permit(target), "next": Permit(target)}.get(do)


def a_selection(do, place, request, candidates, ctx):
    chosen = {
        "next": candidates[::-1],
        "first": candidates[:1],
        "soon": candidates * 2,
        "skip": (),
        "stranger": (STRANGER, *candidates),
    }.get(do)
    return None if chosen is None else Selection(chosen, why=do)


scripts = st.lists(verdicts, min_size=1, max_size=6)


@proves(12)
@given(
    select=scripts,
    decide=scripts,
    admit=scripts,
    came=st.lists(outcomes, min_size=1, max_size=6),
    budget=st.integers(1, 6),
)
@settings(max_examples=60, deadline=None)
def test_every_request_ends_within_its_budgets_whatever_the_plugins_do(select, decide, admit, came, budget):
    gates = [Gatekeeper(behaving(admit, kind=an_admission)), Gatekeeper()]
    made = config(
        backends=("proxy", "direct"),
        router={"max_attempts": budget},
        plugins={
            "select": Selecting(behaving(select, kind=a_selection)),
            "decide": Deciding(behaving(decide, kind=a_verdict)),
            "open_gate": gates[1],
            "gate": gates[0],
        },
    )
    played = 0

    def play(step):
        nonlocal played
        played += 1
        return came[played % len(came)]

    run = drive(made, play, deadline=1.0, most_steps=3_000)
    assert len(run.attempts) == played == len(run.decision.attempts) <= budget
    assert run.took <= 1.0 + 1e-9
    assert all(0 < step.time_limit <= 1.0 for step in run.attempts)
    assert run.decision.outcome == ("answered" if run.answer else "failed")
    for gate in gates:
        gate.check()
