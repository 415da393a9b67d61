"""A virtual clock, and plans carried out by it: the simulated twin of the router's drivers."""

import asyncio
import heapq
from collections.abc import Callable, Generator
from contextvars import Context
from itertools import count
from random import Random
from typing import Any

from attrs import define

from pointsman.chat import Completion
from pointsman.context import DecisionContext
from pointsman.decision import Decision
from pointsman.errors import Failure, Kind, RouteError
from pointsman.events import Event
from pointsman.intake import Call
from pointsman.plan import Answered, Attempt, Committed, Failed, Outcome, Pause, Relay, TimedOut, plan
from pointsman.recorder import Recorder
from pointsman.snapshot import Snapshot
from pointsman.targets import Target

from .behaviours import Answers, Breaks, Fails, Hangs, Script, SimulatedAttempt


@define(eq=False)
class SimulatedCall:
    """One request of a simulation, and after the run what came of it."""

    number: int
    at: float
    """When it began."""
    ended: float = 0.0
    """When its caller had an answer or an error. Both in seconds since the simulation began."""
    completion: Completion | None = None
    error: RouteError | None = None
    decision: Decision | None = None

    @property
    def answered(self) -> bool:
        """Whether a target answered; a last resort is not one."""
        return self.decision is not None and self.decision.outcome == "answered"

    @property
    def duration(self) -> float:
        """Seconds that its caller waited."""
        return self.ended - self.at


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
        heapq.heappush(self._due, (time, next(self._order), happen))

    def run(self, until: float | None) -> None:
        """Everything that is due until then, or all of it."""
        while self._due and (until is None or self._due[0][0] <= until):
            time, _, happen = heapq.heappop(self._due)
            self.now = max(self.now, time)
            happen()
        if until is not None:
            self.now = max(self.now, until)

    def context(self, snapshot: Snapshot, seed: int) -> DecisionContext:
        """A context whose time, and whose listener, are this world's."""
        return DecisionContext(snapshot, seed, lambda: self.now, self.events.append, lambda: self.now)

    def behaviour(self, step: Attempt, request: int) -> Answers | Fails | Hangs | Breaks:
        """What the script says to an attempt that is made now."""
        attempt = SimulatedAttempt(step.target, self.now, request, step.number, self.random)
        self.attempts.append(attempt)
        return self._script(attempt)


class Running:
    """One request under way: a plan, and the one thing that it waits for."""

    def __init__(self, world: World, call: Call, into: SimulatedCall) -> None:
        self._world = world
        self._call = call
        self._into = into
        self._steps: Generator[Any, Outcome | None, Completion]
        self._recorder: Recorder
        self._waits_for = 0
        """Numbers what it waits for: whatever was scheduled under an earlier number has been overtaken."""
        self._relayed: tuple[float, Outcome] = (0.0, TimedOut())
        """Of a stream that has begun: seconds until it ends, and how."""

    def begin(self) -> None:
        """The caller asks."""
        ctx = self._world.context(self._call.snapshot, self._world.random.getrandbits(48))
        self._recorder = Recorder(f"simulated-{self._into.number}", self._call.request, ctx, Context())
        self._steps = plan(self._recorder, self._call.time_allowed)
        self._go_on(lambda: next(self._steps))

    def cancel(self) -> None:
        """The caller gives up, unless it has an answer."""
        if self._into.decision is None:
            self._go_on(lambda: self._steps.throw(asyncio.CancelledError()))

    def _go_on(self, resume: Callable[[], Attempt | Pause | Relay]) -> None:
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
        self._into.ended = self._world.now
        self._into.decision = self._recorder.ended

    def _wait_for(self, delay: float, outcome: Outcome | None) -> None:
        waits_for = self._waits_for

        def happen() -> None:
            if self._waits_for == waits_for:
                self._go_on(lambda: self._steps.send(outcome))

        self._world.at(self._world.now + delay, happen)

    def _carry_out(self, step: Attempt | Pause | Relay) -> tuple[float, Outcome | None]:
        """How many seconds a step takes, and what comes of it."""
        if isinstance(step, Pause):
            return step.seconds, None
        if isinstance(step, Relay):
            after, came = self._relayed
            limit = min(step.idle_timeout, step.time_left)
            return (after, came) if after < limit else (limit, TimedOut())
        after, came = self._attempt(step)
        return (after, came) if after < step.time_limit else (step.time_limit, TimedOut())

    def _attempt(self, step: Attempt) -> tuple[float, Outcome]:
        """When an attempt's outcome would come, and which."""
        match self._world.behaviour(step, self._into.number):
            case Answers(after=after, text=text):
                return after, Answered(_completion(step.target, text))
            case Fails(failure=failure, after=after):
                return after, Failed(_failure(failure))
            case Breaks(first_content=first, after=after, failure=failure):
                if not self._call.request.stream:
                    return first + after, Failed(_failure(failure))
                self._relayed = after, Failed(_failure(failure), _completion(step.target, "an ans"))
                return first, Committed(self._world.now + first)
            case Hangs():
                return step.time_limit, TimedOut()


def _completion(target: Target, text: str) -> Completion:
    return Completion(text=text, finish_reason="stop", served_model=target.name)


def _failure(failure: Failure | Kind) -> Failure:
    return failure if isinstance(failure, Failure) else Failure.of(failure, f"simulated: {failure}")
