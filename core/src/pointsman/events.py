"""What sinks are told.

Every request yields one `RequestStarted` and exactly one `RequestFinished`; every attempt one
`AttemptStarted` and exactly one `AttemptFinished`: on success, failure, cancellation and
abandoned streams alike. Others belong to no request: a breaker that moves yields a
`CircuitChanged`, a configuration file that changes a `ConfigChanged` or a `ConfigRejected`, a rollout a
`RolloutChanged`, a `RolloutHalted` or a `RolloutResumed`. Events are frozen and hold no prompt, no completion, no
key and no URL. They have no slots: a frozen class is made faster without, and every request makes four.
"""

from collections.abc import Mapping
from contextvars import Context
from typing import Literal, TypeAlias

from attrs import field, frozen

from .chat import InnerAttempts, Usage
from .decision import AttemptOutcome, Decision, RequestOutcome
from .errors import Failure
from .targets import Target


@frozen(kw_only=True, slots=False)
class _Event:
    request_id: str
    time: float
    """Wall clock, seconds since the epoch."""
    task: str
    unit: str | int | None
    labels: Mapping[str, str]
    context: Context = field(repr=False, eq=False)
    """A copy of the caller's context variables."""


@frozen(kw_only=True, slots=False)
class RequestStarted(_Event):
    """A request was selected for and is about to be tried."""

    path: str | None
    """The assigned path."""


@frozen(kw_only=True, slots=False)
class AttemptStarted(_Event):
    """One HTTP request is about to be made."""

    path: str | None
    number: int
    target: Target
    time_limit: float
    """Seconds that this attempt may take."""


@frozen(kw_only=True, slots=False)
class AttemptFinished(_Event):
    """One HTTP request ended."""

    path: str | None
    number: int
    target: Target
    outcome: AttemptOutcome
    duration: float
    """Seconds."""
    time_to_first_token: float | None
    """Seconds since the attempt began; None for whole answers."""
    failure: Failure | None
    usage: Usage | None
    served_model: str | None
    provider: str | None
    inner: InnerAttempts | None


@frozen(kw_only=True, slots=False)
class RequestFinished(_Event):
    """A request ended. `decision` is the record that the caller has too."""

    path: str | None
    outcome: RequestOutcome
    duration: float
    """Seconds."""
    decision: Decision


CircuitScope: TypeAlias = Literal["target", "backend", "quota"]
CircuitState: TypeAlias = Literal["closed", "open", "half_open"]


@frozen(kw_only=True, slots=False)
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


@frozen(kw_only=True, slots=False)
class ConfigChanged:
    """A changed configuration file is in use: for every request that begins from now on. Of no single request."""

    time: float
    """Wall clock, seconds since the epoch."""
    file: str


@frozen(kw_only=True, slots=False)
class ConfigRejected:
    """A changed configuration file has mistakes, so what was in use stays in use. Of no single request."""

    time: float
    """Wall clock, seconds since the epoch."""
    file: str
    problems: tuple[str, ...]
    """Each with its line, and what to write instead."""


@frozen(kw_only=True, slots=False)
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


@frozen(kw_only=True, slots=False)
class RolloutHalted:
    """A guard found a path worse than the control path, which everyone takes from now on. Of no single request."""

    time: float
    """Wall clock, seconds since the epoch."""
    rollout: str
    path: str
    control: str
    why: str


@frozen(kw_only=True, slots=False)
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
