"""What sinks are told.

Every request yields one `RequestStarted` and exactly one `RequestFinished`; every attempt one
`AttemptStarted` and exactly one `AttemptFinished`: on success, failure, cancellation and
abandoned streams alike. Others belong to no request: a breaker that moves yields a
`CircuitChanged`, a configuration file that changes a `ConfigChanged` or a `ConfigRejected`, a rollout a
`RolloutChanged`, a `RolloutHalted` or a `RolloutResumed`. Events are frozen and hold no prompt, no completion, no
key and no URL.
"""

from collections.abc import Mapping
from contextvars import Context
from typing import Literal, TypeAlias, cast

from attrs import field, frozen

from .chat import InnerAttempts, Usage
from .decision import AttemptOutcome, AttemptRecord, Decision, RequestOutcome
from .errors import Failure
from .targets import Target


@frozen
class RequestInfo:
    """What every event of one request says of it."""

    request_id: str
    task: str
    unit: str | int | None
    path: str | None
    """The assigned one."""
    labels: Mapping[str, str]
    context: Context = field(repr=False, eq=False)
    """A copy of the caller's context variables."""


@frozen
class _Event:
    about: RequestInfo
    time: float
    """Wall clock, seconds since the epoch."""

    @property
    def request_id(self) -> str:
        return self.about.request_id

    @property
    def task(self) -> str:
        return self.about.task

    @property
    def unit(self) -> str | int | None:
        return self.about.unit

    @property
    def path(self) -> str | None:
        """The assigned path."""
        return self.about.path

    @property
    def labels(self) -> Mapping[str, str]:
        return self.about.labels

    @property
    def context(self) -> Context:
        """A copy of the caller's context variables."""
        return self.about.context


@frozen
class RequestStarted(_Event):
    """A request was selected for and is about to be tried."""


@frozen
class AttemptStarted(_Event):
    """One HTTP request is about to be made."""

    number: int
    target: Target
    time_limit: float
    """Seconds that this attempt may take."""


@frozen
class AttemptFinished(_Event):
    """One HTTP request ended. `attempt` is the record that the decision has too."""

    attempt: AttemptRecord

    @property
    def number(self) -> int:
        return self.attempt.number

    @property
    def target(self) -> Target:
        return self.attempt.target

    @property
    def outcome(self) -> AttemptOutcome:
        return self.attempt.outcome

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.attempt.duration

    @property
    def time_to_first_token(self) -> float | None:
        """Seconds since the attempt began; None for whole answers."""
        return self.attempt.time_to_first_token

    @property
    def failure(self) -> Failure | None:
        return self.attempt.failure

    @property
    def usage(self) -> Usage | None:
        return self.attempt.usage

    @property
    def served_model(self) -> str | None:
        return self.attempt.served_model

    @property
    def provider(self) -> str | None:
        return self.attempt.provider

    @property
    def inner(self) -> InnerAttempts | None:
        return self.attempt.inner


@frozen
class RequestFinished(_Event):
    """A request ended. `decision` is the record that the caller has too."""

    decision: Decision

    @property
    def outcome(self) -> RequestOutcome:
        return cast("RequestOutcome", self.decision.outcome)

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.decision.duration or 0.0


CircuitScope: TypeAlias = Literal["target", "backend", "quota"]
CircuitState: TypeAlias = Literal["closed", "open", "half_open"]


@frozen(kw_only=True)
class CircuitChanged:
    """A breaker opened, closed, or lets one attempt through to see. Of no single request."""

    time: float
    """Wall clock, seconds since the epoch."""
    scope: CircuitScope
    name: str
    before: CircuitState
    after: CircuitState
    why: str
    open_for: float | None = None
    """Seconds until one attempt is let through; None where it did not open."""


@frozen(kw_only=True)
class ConfigChanged:
    """A changed configuration file is in use: for every request that begins from now on. Of no single request."""

    time: float
    """Wall clock, seconds since the epoch."""
    file: str


@frozen(kw_only=True)
class ConfigRejected:
    """A changed configuration file has mistakes, so what was in use stays in use. Of no single request."""

    time: float
    """Wall clock, seconds since the epoch."""
    file: str
    problems: tuple[str, ...]
    """Each with its line, and what to write instead."""


@frozen(kw_only=True)
class RolloutChanged:
    """A rollout has other settings than before: for every request that begins from now on. Of no single request."""

    time: float
    """Wall clock, seconds since the epoch."""
    rollout: str
    """Its name; `default` is `[rollout]`."""
    control: str
    shares: Mapping[str, float]
    """Per cent of units for each other path."""
    off: bool


@frozen(kw_only=True)
class RolloutHalted:
    """A guard found a path worse than the control path, which everyone takes from now on. Of no single request."""

    time: float
    """Wall clock, seconds since the epoch."""
    rollout: str
    path: str
    control: str
    why: str


@frozen(kw_only=True)
class RolloutResumed:
    """Somebody has let units onto a halted path again. Of no single request."""

    time: float
    """Wall clock, seconds since the epoch."""
    rollout: str
    path: str


RequestEvent: TypeAlias = RequestStarted | AttemptStarted | AttemptFinished | RequestFinished
"""What belongs to one request, and has its task, unit, path and labels."""

RouterEvent: TypeAlias = (
    CircuitChanged | ConfigChanged | ConfigRejected | RolloutChanged | RolloutHalted | RolloutResumed
)
"""What belongs to no single request."""

Event: TypeAlias = RequestEvent | RouterEvent
