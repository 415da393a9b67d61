"""A virtual clock, and plans carried out by it: the simulated twin of the router's drivers."""

import asyncio
import heapq
from collections.abc import Callable
from contextvars import Context
from itertools import count
from random import Random

from attrs import define, frozen

from pointsman.chat import Completion
from pointsman.context import DecisionContext
from pointsman.decision import Decision
from pointsman.errors import Delivery, Failure, Kind, RouteError
from pointsman.events import Event
from pointsman.intake import Call
from pointsman.plan import Attempt, Committed, Failed, Outcome, Pause, Plan, Relay, Step, TimedOut, plan
from pointsman.recorder import Recorder
from pointsman.snapshot import Snapshot
from pointsman.targets import Target

from .behaviours import Answers, Behaviour, Breaks, Fails, Hangs, Script, SimulatedAttempt

GRAIN = 2.0**30
"""Parts of a second: times are whole numbers of them. Binary, so that a difference of times added to one of them gives
the other exactly, for the first three months, and what is replayed happens at the recorded times, to the last bit."""

UNSENT: frozenset[Kind] = frozenset({"connect", "local_limit"})
"""Kinds of failure that come before anything is sent."""


@define(eq=False)
class SimulatedCall:
    """One request of a simulation, and what came of it once that has run."""

    number: int
    at: float
    """When it began, in seconds since the simulation did."""
    completion: Completion | None = None
    """The answer, or the task's last resort."""
    error: RouteError | None = None
    """None as well where its caller gave up."""
    _decision: Decision | None = None

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._decision is not None

    @property
    def decision(self) -> Decision:
        """The record, however it ended. Raises `LookupError` before."""
        if self._decision is None:
            raise LookupError(f"request {self.number} has not ended; run the simulation, or run it on")
        return self._decision

    @property
    def answered(self) -> bool:
        """Whether a target has answered; a last resort is not one."""
        return self.is_over and self.decision.outcome == "answered"

    @property
    def served(self) -> Target | None:
        """Who has answered."""
        return self.decision.served if self.is_over else None

    @property
    def ended(self) -> float:
        """When its caller had an answer or an error, or gave up. Raises `LookupError` before."""
        return self.at + (self.decision.duration or 0.0)

    @property
    def duration(self) -> float:
        """Seconds that its caller waited."""
        return self.ended - self.at

    def end(self, decision: Decision | None) -> None:
        """The simulation's word that it has ended, with the record."""
        self._decision = decision


class World:
    """The time, what is still to happen, and what has."""

    def __init__(self, script: Script, seed: int) -> None:
        self.now = 0.0
        self.random = Random(seed)
        self.events: list[Event] = []
        self.attempts: list[SimulatedAttempt] = []
        self._script = script
        self._order = count()
        self._due: list[tuple[float, int, Callable[[], None]]] = []

    def at(self, time: float, happen: Callable[[], None]) -> None:
        """Lets something happen at a time; what is due at one time happens in the order of these calls."""
        heapq.heappush(self._due, (on_grid(time), next(self._order), happen))

    def run(self, until: float | None) -> None:
        """Everything that is due until then, or all of it."""
        while self._due and (until is None or self._due[0][0] <= until):
            time, _, happen = heapq.heappop(self._due)
            self.now = max(self.now, time)
            happen()
        if until is not None:
            self.now = max(self.now, on_grid(until))

    def context(self, snapshot: Snapshot, seed: int) -> DecisionContext:
        """A context whose time, and whose listener, are this world's."""
        return DecisionContext(snapshot, seed, lambda: self.now, self.events.append, lambda: self.now)

    def behaviour(self, step: Attempt, request: int) -> Behaviour:
        """What the script says to an attempt that is made now."""
        attempt = SimulatedAttempt(step.target, self.now, request, step.number, self.random)
        self.attempts.append(attempt)
        return self._script(attempt)


class Running:
    """One request under way: a plan, and the one thing that it waits for."""

    def __init__(self, world: World, call: Call, into: SimulatedCall, seed: int | None) -> None:
        self._world = world
        self._call = call
        self._into = into
        self._seed = seed
        self._steps: Plan
        self._recorder: Recorder
        self._waits_for = 0
        """Numbers what it waits for: whatever was scheduled under an earlier number has been overtaken."""
        self._rest: _Rest

    def begin(self) -> None:
        """The caller asks."""
        seed = self._world.random.getrandbits(48) if self._seed is None else self._seed
        ctx = self._world.context(self._call.snapshot, seed)
        self._recorder = Recorder(f"simulated-{self._into.number}", self._call.request, ctx, Context())
        self._steps = plan(self._recorder, self._call.time_allowed)
        self._go_on(lambda: next(self._steps))

    def cancel(self) -> None:
        """The caller gives up, unless it has an answer."""
        if not self._into.is_over:
            self._go_on(lambda: self._steps.throw(asyncio.CancelledError()))

    def _go_on(self, resume: Callable[[], Step]) -> None:
        self._waits_for += 1
        try:
            step = resume()
        except StopIteration as stop:
            self._into.completion = stop.value
        except RouteError as error:
            self._into.error = error
        except asyncio.CancelledError:
            pass  # the caller's own; that it was cancelled is in the decision
        else:
            self._wait_for(*self._carry_out(step))
            return
        self._into.end(self._recorder.ended)

    def _wait_for(self, delay: float, outcome: Outcome | None) -> None:
        waits_for = self._waits_for

        def happen() -> None:
            if self._waits_for == waits_for:
                came = Committed(self._world.now) if isinstance(outcome, Committed) else outcome
                self._go_on(lambda: self._steps.send(came))

        self._world.at(self._world.now + delay, happen)

    def _carry_out(self, step: Step) -> tuple[float, Outcome | None]:
        """How many seconds a step takes, and what comes of it."""
        if isinstance(step, Pause):
            return step.seconds, None
        if isinstance(step, Relay):
            rest, limit = self._rest, step.time_left
            if rest.silent:
                limit = min(limit, step.idle_timeout)
            return (rest.after, rest.outcome) if rest.after < limit else (limit, TimedOut(rest.partial))
        after, came = self._attempt(step)
        return (after, came) if after < step.time_limit else (step.time_limit, TimedOut())

    def _attempt(self, step: Attempt) -> tuple[float, Outcome]:
        """When an attempt's outcome would come, and which."""
        streams, target = self._call.request.stream, step.target
        match self._world.behaviour(step, self._into.number):
            case Answers(after=after, text=text, first_content=first):
                answered = _completion(target, text)
                if not streams:
                    return after, answered
                first = after if first is None else min(first, after)
                self._rest = _Rest(after - first, answered, answered)
                return first, Committed(first)
            case Fails(failure=failure, after=after, partial=partial):
                return after, Failed(_failure(failure), partial)
            case Breaks(first_content=first, after=after, failure=failure, text=text, silent=silent):
                if not streams:
                    return first + after, Failed(_failure(failure))
                partial = _completion(target, text)
                self._rest = _Rest(after, Failed(_failure(failure), partial), partial, silent=silent)
                return first, Committed(first)
            case Hangs():
                return step.time_limit, TimedOut()


@frozen
class _Rest:
    """Of a stream that has begun: how many seconds later it ends, how, and what had arrived until then."""

    after: float
    outcome: Outcome
    partial: Completion
    silent: bool = False
    """Whether nothing comes in between."""


def on_grid(time: float) -> float:
    """The nearest time that there is."""
    return round(time * GRAIN) / GRAIN


def _completion(target: Target, text: str | Completion) -> Completion:
    if isinstance(text, Completion):
        return text
    return Completion(text=text, finish_reason="stop", served_model=target.name)


def _failure(failure: Failure | Kind) -> Failure:
    if isinstance(failure, Failure):
        return failure
    delivery: Delivery = "not_sent" if failure in UNSENT else "possibly_billed" if failure == "timeout" else "answered"
    return Failure.of(failure, f"simulated: {failure}", delivery=delivery)
