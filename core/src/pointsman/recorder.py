"""Writes one request's story down once: as the decision record, and as events."""

from collections.abc import Callable, Mapping
from contextvars import Context, copy_context
from random import Random
from time import monotonic, time
from types import MappingProxyType
from typing import Self

from .chat import Completion, Request
from .context import DecisionContext
from .decision import AttemptOutcome, AttemptRecord, Decision, RequestOutcome, SelectionStep, SkippedTarget
from .errors import Failure
from .events import AttemptFinished, AttemptStarted, Event, RequestFinished, RequestInfo, RequestStarted
from .snapshot import Snapshot
from .targets import Target

NOBODY: Mapping[Target, SkippedTarget] = MappingProxyType({})


class _NoAnswer:
    """What is known of an answer where there is none."""

    usage = id = call_id = served_model = provider = inner = None


class Recorder:
    """The growing record of one request. `context` is the caller's context variables."""

    @classmethod
    def of(
        cls,
        request: Request,
        snapshot: Snapshot,
        listener: Callable[[Event], None] | None = None,
        chance: Random | None = None,
    ) -> Self:
        """The record of a request that begins now, by a configuration; without a listener nobody is told.

        Its id and its seed are left to `chance`, which nobody has seeded.
        """
        bits = (chance or Random()).getrandbits(128)
        ctx = DecisionContext(snapshot, bits >> 80, monotonic, listener, time)
        return cls(bits.to_bytes(16, "big").hex(), request, ctx, copy_context())

    def __init__(self, request_id: str, request: Request, ctx: DecisionContext, context: Context) -> None:
        self.request_id = request_id
        self.request = request
        self.ctx = ctx
        self.began = ctx.began
        self.candidates: tuple[Target, ...] = ()
        self.steps: tuple[SelectionStep, ...] = ()
        self.attempts: tuple[AttemptRecord, ...] = ()
        self.skipped: Mapping[Target, SkippedTarget] = NOBODY
        self._target: Target
        """That of the attempt that runs, as are the next three."""
        self._why: str
        self._attempt_began: float
        self._first_token: float | None
        self.ended: Decision | None = None
        """The finished record, however the request ended."""
        self._about: RequestInfo
        """What every event of this request says, where anyone is told."""
        self._emit = ctx.listener
        self._context = context
        self._wall_clock = ctx.wall_clock

    def request_started(self) -> None:
        if self._emit:
            request, assignment = self.request, self.ctx.assignment
            path = assignment.path if assignment else None
            self._about = RequestInfo(self.request_id, request.task, request.unit, path, request.labels, self._context)
            self._emit(RequestStarted(self._about, self._wall_clock()))

    def refused(self, skipped: SkippedTarget) -> None:
        """The gate lets nobody through to a target."""
        self.skipped = {**self.skipped, skipped.target: skipped}

    def admitted(self, target: Target) -> None:
        """The gate lets an attempt through, perhaps after it had not."""
        self.skipped = {other: skipped for other, skipped in self.skipped.items() if other != target}

    def attempt_started(self, target: Target, time_limit: float, why: str) -> None:
        self._target, self._why, self._first_token = target, why, None
        self._attempt_began = self.ctx.clock()
        if self._emit:
            number = len(self.attempts) + 1
            self._emit(AttemptStarted(self._about, self._wall_clock(), number, target, time_limit))

    def answer_begun(self, at: float) -> None:
        """The first content of the attempt's stream came then, on the context's clock."""
        self._first_token = at

    def attempt_finished(
        self, outcome: AttemptOutcome, failure: Failure | None = None, answer: Completion | None = None
    ) -> None:
        target, began, first_token = self._target, self._attempt_began, self._first_token
        said = answer or _NoAnswer
        # By place, here and below: with keywords, objects of so many fields take half as long again to make.
        record = AttemptRecord(
            len(self.attempts) + 1,
            target,
            began - self.began,
            self.ctx.clock() - began,
            outcome,
            self._why,
            None if first_token is None else first_token - began,
            failure,
            said.usage,
            said.id,
            said.call_id,
            said.served_model,
            said.provider or (failure.provider if failure else None),
            said.inner,
        )
        self.attempts += (record,)
        if self._emit:
            self._emit(AttemptFinished(self._about, self._wall_clock(), record))

    def request_finished(self, outcome: RequestOutcome, why: str = "") -> Decision:
        decision = self.ended = self.decision(outcome, why)
        if self._emit:
            self._emit(RequestFinished(self._about, self._wall_clock(), decision))
        return decision

    def decision(
        self, outcome: RequestOutcome | None = None, why: str = "", *, serving: Target | None = None
    ) -> Decision:
        """The record as it stands. `serving` is the target whose answer has begun."""
        request, ctx = self.request, self.ctx
        return Decision(
            self.request_id,
            request.task,
            request.unit,
            request.model,
            self.candidates,
            self.steps,
            ctx.assignment,
            ctx.seed,
            self.attempts,
            tuple(self.skipped.values()),
            self.attempts[-1].target if outcome == "answered" else serving,
            outcome,
            why,
            None if outcome is None else ctx.clock() - self.began,
        )
