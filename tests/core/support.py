"""Small scripted plugins, and a driver of `plan()` with a virtual clock.

Everything here does what its script says and remembers what it was asked. The plugins are real ones,
loaded through a real configuration.
"""

import asyncio
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextvars import copy_context
from pathlib import Path
from typing import Any

from attrs import define, field

from pointsman.chat import Completion, Request, Usage
from pointsman.context import DecisionContext
from pointsman.decision import AttemptRecord, Decision
from pointsman.errors import AttemptFailed, Failure, RouteError
from pointsman.events import (
    AttemptFinished,
    AttemptStarted,
    CircuitChanged,
    ConfigChanged,
    ConfigRejected,
    Event,
    RequestEvent,
    RequestFinished,
    RequestStarted,
    RolloutChanged,
    RolloutHalted,
    RolloutResumed,
)
from pointsman.hookspecs import BackendInvocation, FallbackDecision, Gate, MetricEmission, ModelSelection, hookimpl
from pointsman.loading import from_config
from pointsman.plan import Attempt, Failed, Outcome, Pause, TimedOut, plan
from pointsman.recorder import Recorder
from pointsman.snapshot import Snapshot
from pointsman.targets import Target
from pointsman.verdicts import Permit

ROOT = Path(__file__).parents[2]

RolloutEvent = RolloutChanged | RolloutHalted | RolloutResumed


def answer(text: str = "fine", **known: Any) -> Completion:
    return Completion(text=text, finish_reason="stop", **known)


def failure(kind: Any = "server", **known: Any) -> Failure:
    return Failure.of(kind, f"a {kind} failure", **known)


# Configurations

OFF: Mapping[str, object] = {"enabled": False}

FALLBACK_ALONE: Mapping[str, object] = {"breaker": OFF, "retries": OFF}
"""Plugins for a test of the rules below these two, which have tests of their own."""


def table(
    models: Iterable[str] = ("small", "large"),
    backends: Mapping[str, object] | None = None,
    *,
    plugins: Mapping[str, object] | None = None,
    **sections: Any,
) -> dict[str, Any]:
    """Every model on every backend, one task `chat`, and one path with the backends in their order.

    Without a breaker and a second chance, unless `plugins` has them.
    """
    backends = backends if backends is not None else {"proxy": Scripted(), "direct": Scripted()}
    models = tuple(models)
    return {
        "plugins": {**FALLBACK_ALONE, **backends, **(plugins or {})},
        "models": {model: {"on": {backend: f"{backend}:{model}" for backend in backends}} for model in models},
        "tasks": {"chat": {"models": models}},
        "paths": {"only": tuple(backends)},
        **sections,
    }


# Plugins


@define(eq=False)
class Scripted(BackendInvocation):
    """Answers each attempt as its script says, and with "fine" when that is at its end."""

    script: Iterable[Any] = ()
    """Each a `Completion`, a `Failure`, an exception to raise, or a coroutine function to call."""
    calls: list[tuple[Target, Request, Any]] = field(factory=list[Any])
    _steps: Any = None

    @hookimpl
    async def complete(self, target, request, ctx):
        self.calls.append((target, request, ctx))
        self._steps = self._steps or iter(self.script)
        step = next(self._steps, answer())
        if isinstance(step, Failure):
            raise AttemptFailed(step)
        if isinstance(step, BaseException):
            raise step
        return step if isinstance(step, Completion) else await step(target, request, ctx)


@define(eq=False)
class Collecting(MetricEmission):
    """Keeps what it is told."""

    events: list[RequestEvent] = field(factory=list[RequestEvent])
    circuits: list[CircuitChanged] = field(factory=list[CircuitChanged])
    configs: list[ConfigChanged | ConfigRejected] = field(factory=list[ConfigChanged | ConfigRejected])
    rollouts: list[RolloutEvent] = field(factory=list[RolloutEvent])

    @hookimpl
    def emit_metric(self, event):
        self(event)

    def __call__(self, event: Event) -> None:
        if isinstance(event, CircuitChanged):
            self.circuits.append(event)
        elif isinstance(event, ConfigChanged | ConfigRejected):
            self.configs.append(event)
        elif isinstance(event, RolloutEvent):
            self.rollouts.append(event)
        else:
            self.events.append(event)


@define(eq=False)
class Selecting(ModelSelection):
    """Selects with a function."""

    choose: Callable[..., Any]

    @hookimpl
    def select_model(self, request, candidates, ctx):
        return self.choose(request, candidates, ctx)


@define(eq=False)
class Deciding(FallbackDecision):
    """Decides fallbacks with a function."""

    decide: Callable[..., Any]

    @hookimpl
    def decide_fallback(self, request, failure, state):
        return self.decide(request, failure, state)


@define(eq=False)
class Gatekeeper(Gate):
    """Admits with a function, and remembers how each of its permits was settled."""

    rule: Callable[[Target, DecisionContext], Any] = lambda target, ctx: Permit(target)
    given: list[Permit] = field(factory=list[Permit])
    settled: list[tuple[Permit, Any, Any]] = field(factory=list[Any])

    @hookimpl
    def admit(self, target, ctx):
        verdict = self.rule(target, ctx)
        if isinstance(verdict, Permit):
            self.given.append(verdict)
        return verdict

    @hookimpl
    def settle(self, permit, outcome, failure, ctx):
        self.settled.append((permit, outcome, failure))

    @property
    def outcomes(self) -> list[str | None]:
        return [outcome for _, outcome, _ in self.settled]

    def check(self) -> None:
        """Every permit was settled exactly once."""
        settled = Counter(id(permit) for permit, _, _ in self.settled)
        assert settled == Counter(id(permit) for permit in self.given)
        assert set(settled.values()) <= {1}


async def for_ever(*_: object) -> None:
    await asyncio.Event().wait()


async def swallowing_cancellation(*_: object) -> Completion:
    """Ends when it likes: later than any promise that it tries to break."""
    ends = asyncio.get_running_loop().time() + 0.2
    while (left := ends - asyncio.get_running_loop().time()) > 0:
        try:
            await asyncio.sleep(left)
        except asyncio.CancelledError:
            continue
    return answer("too late")


# Stories


def story(events: Iterable[RequestEvent]) -> list[RequestEvent]:
    """The events of one request, after a check that they are whole: one begin and one end of everything."""
    events = list(events)
    assert len({event.request_id for event in events}) == 1
    first, *attempts, last = events
    assert isinstance(first, RequestStarted)
    assert isinstance(last, RequestFinished)
    pairs = list(zip(attempts[::2], attempts[1::2], strict=True))
    for number, (started, finished) in enumerate(pairs, start=1):
        assert isinstance(started, AttemptStarted)
        assert isinstance(finished, AttemptFinished)
        assert started.number == finished.number == number
        assert started.target == finished.target
    decision = last.decision
    assert [attempt.number for attempt in decision.attempts] == list(range(1, len(pairs) + 1))
    assert [attempt.outcome for attempt in decision.attempts] == outcomes(attempts)
    assert last.outcome == decision.outcome
    return events


def ending(events: Iterable[RequestEvent]) -> RequestFinished:
    """The last event of one request, after the same check."""
    last = story(events)[-1]
    assert isinstance(last, RequestFinished)
    return last


def outcomes(events: Iterable[RequestEvent]) -> list[str]:
    """How every attempt and then the request ended."""
    return [event.outcome for event in events if isinstance(event, AttemptFinished | RequestFinished)]


def decided(end: Completion | BaseException | None) -> Decision:
    """The decision of an answer or an error, which has to be there."""
    assert isinstance(end, Completion | RouteError)
    assert end.decision is not None
    return end.decision


def failed(attempt: AttemptRecord) -> Failure:
    """Why an attempt failed, which it has to have."""
    assert attempt.failure is not None
    return attempt.failure


def stories(events: Iterable[RequestEvent]) -> dict[str, list[RequestEvent]]:
    """Each request's events, checked."""
    by_request: dict[str, list[RequestEvent]] = {}
    for event in events:
        by_request.setdefault(event.request_id, []).append(event)
    return {request_id: story(own) for request_id, own in by_request.items()}


# The plan with a virtual clock


@define(eq=False)
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@define(eq=False, kw_only=True)
class Run:
    """What became of one driven plan."""

    answer: Completion | None = None
    error: BaseException | None = None
    attempts: list[Attempt] = field(factory=list[Attempt])
    pauses: list[float] = field(factory=list[float])
    told: Collecting = field(factory=Collecting)
    took: float = 0.0

    @property
    def events(self) -> list[RequestEvent]:
        return self.told.events

    @property
    def tried(self) -> list[str]:
        return [str(step.target) for step in self.attempts]

    @property
    def decision(self) -> Decision:
        return decided(self.answer or self.error)


def chat(**known: Any) -> Request:
    return Request(**{"messages": ({"role": "user", "content": "hello"},), "task": "chat"} | known)


def recorder(
    snapshot: Snapshot,
    request: Request,
    clock: Clock,
    emit: Any = None,
    *,
    seed: int = 7,
    wall_clock: Callable[[], float] = lambda: 1.7e9,
) -> Recorder:
    return Recorder("r1", request, DecisionContext(snapshot, seed, clock, emit, wall_clock), copy_context())


def drive(
    config: Mapping[str, Any] | Snapshot,
    play: Callable[[Attempt], Any] | Iterable[Any] = (),
    *,
    request: Request | None = None,
    deadline: float = 60.0,
    most_steps: int = 10_000,
    **known: Any,
) -> Run:
    """Carries a plan out on a virtual clock.

    `play` says what comes of each attempt: a `Completion`, a `Failure` or an `Outcome`, or that with the
    seconds it takes in a pair; `TimedOut` takes the attempt's whole limit. A list is played in order, then
    every attempt is answered. What is `known` goes to the recorder.
    """
    snapshot = config if isinstance(config, Snapshot) else from_config(config)
    clock = Clock()
    run = Run()
    began = clock.now
    if not callable(play):
        outcomes = iter(play)
        play = lambda _: next(outcomes, answer())  # noqa: E731 - it is a default
    steps = plan(recorder(snapshot, request or chat(), clock, run.told, **known), deadline)
    try:
        step = next(steps)
        for _ in range(most_steps):
            if isinstance(step, Pause):
                run.pauses.append(step.seconds)
                clock.now += step.seconds
                step = steps.send(None)
                continue
            assert isinstance(step, Attempt)
            run.attempts.append(step)
            came = play(step)
            seconds, came = came if isinstance(came, tuple) else (0.0, came)
            clock.now += step.time_limit if isinstance(came, TimedOut) else min(seconds, step.time_limit)
            step = steps.send(_outcome(came))
        steps.close()
        raise AssertionError(f"the plan did not end within {most_steps} steps")
    except StopIteration as stop:
        run.answer = stop.value
    except RouteError as error:
        run.error = error
    run.took = clock.now - began
    story(run.events)
    return run


def _outcome(came: Any) -> Outcome:
    return Failed(came) if isinstance(came, Failure) else came


# Whole programs


def python(source: str, *, timeout: float = 20, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs a program in a Python of its own, warnings as errors."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", source],
        cwd=ROOT,
        env=os.environ | env,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def usage() -> Usage:
    return Usage(input_tokens=3, output_tokens=5)
