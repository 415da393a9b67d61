"""The record of one request: what was possible, what was decided and why, what came of it."""

from typing import Literal, TypeAlias

from attrs import frozen

from .chat import InnerAttempts, Usage
from .errors import Failure
from .targets import Target

AttemptOutcome: TypeAlias = Literal["answered", "failed", "cancelled", "abandoned"]
RequestOutcome: TypeAlias = Literal["answered", "last_resort", "failed", "cancelled", "abandoned"]
"""How a request ended. `last_resort`: no target answered, and the caller got what the task says for that."""


@frozen
class Assignment:
    """Where a rollout put a unit. Fallback never rewrites it."""

    path: str
    backends: tuple[str, ...] = ()
    """The path's; a plugin that assigns leaves them out, and the rollout fills them in."""
    bucket: float | None = None
    """The place in [0, 1) that decided: the unit's, or a drawn one. None where chance decided nothing."""
    salt: str | None = None
    rollout: str | None = None
    """The name of the rollout; `default` is `[rollout]`. None where there is none."""
    share: float | None = None
    """The path's share when it was assigned, in per cent; the control path has the rest. None as for `bucket`."""


@frozen
class SelectionStep:
    """What one step of model selection changed, and why."""

    plugin: str
    why: str
    targets: tuple[Target, ...]
    """What the step left."""


@frozen(kw_only=True)
class SkippedTarget:
    """A target that was not tried, and why."""

    target: Target
    why: str
    plugin: str
    retry_after: float | None = None
    """Seconds after which it may be tried, where the gate knew."""


@frozen
class AttemptRecord:
    """One HTTP request and what came of it. Times are in seconds."""

    number: int
    """1 for the first attempt of a request."""
    target: Target
    started: float
    """Since the request began."""
    duration: float
    outcome: AttemptOutcome
    why: str
    """Why this target was next."""
    time_to_first_token: float | None = None
    """Since the attempt began; None for whole answers."""
    failure: Failure | None = None
    usage: Usage | None = None
    id: str | None = None
    call_id: str | None = None
    served_model: str | None = None
    provider: str | None = None
    inner: InnerAttempts | None = None


@frozen
class Decision:
    """The record of one request; `router.explain` gives the same without the attempts."""

    request_id: str
    task: str
    unit: str | int | None
    model: str | None
    """The short name that the caller forced, or None."""
    candidates: tuple[Target, ...]
    """The targets that selection left, in order."""
    steps: tuple[SelectionStep, ...]
    assignment: Assignment | None
    seed: int
    """Seeds the request's random source, so that the decision can be replayed."""
    attempts: tuple[AttemptRecord, ...] = ()
    skipped: tuple[SkippedTarget, ...] = ()
    served: Target | None = None
    """Who answered, or is answering."""
    outcome: RequestOutcome | None = None
    """None in an explanation, where nothing was called, and while a streamed answer is being read."""
    why: str = ""
    """Why the request ended as it did, where it ended without an answer."""
    duration: float | None = None

    @property
    def path(self) -> str | None:
        """The assigned path, whatever served in the end."""
        return self.assignment.path if self.assignment else None

    @property
    def fell_back(self) -> bool:
        """Whether something else than the first candidate answered, or nothing did."""
        return not self.candidates or self.served != self.candidates[0]
