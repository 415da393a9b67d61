"""What hooks are given beside the request: the time, chance, the configuration, the story so far.

No rule reads a clock, an environment or a global random source: it asks its context. What every attempt has made anew,
and nothing is checked against later, is not frozen: that would take most of its making.
"""

from collections.abc import Callable
from random import Random
from time import time
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from .decision import Assignment, AttemptRecord, SkippedTarget
from .targets import Target

if TYPE_CHECKING:
    from .events import Event
    from .snapshot import Snapshot


@define(eq=False)
class DecisionContext:
    """For decision hooks. One per request."""

    snapshot: "Snapshot"
    """The configuration that this request started with, and its catalog."""
    seed: int
    clock: Callable[[], float]
    listener: "Callable[[Event], None] | None" = None
    """Takes every event; None where nobody listens."""
    wall_clock: Callable[[], float] = time
    """Seconds since the epoch, for events. No rule reads it."""
    memory: dict[object, Any] | None = field(default=None, init=False)
    """What plugins remember of this request: each under itself, in a dictionary that the first of them makes."""
    deadline: float = field(default=0.0, init=False)
    """When the request has to be over, on the monotonic clock; set by its plan before the first attempt."""
    assignment: Assignment | None = field(default=None, init=False)
    """Where an earlier step of selection has put the unit."""
    began: float = field(init=False)
    """When the request began, on the monotonic clock."""
    _random: Random | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.began = self.clock()

    @property
    def now(self) -> float:
        """Seconds on a monotonic clock; only differences mean something."""
        return self.clock()

    @property
    def random(self) -> Random:
        """The request's random source, seeded by the decision's `seed`."""
        if self._random is None:
            self._random = Random(self.seed)
        return self._random

    def emit(self, event: "Event") -> None:
        """Tells every sink."""
        if self.listener is not None:
            self.listener(event)


@define(unsafe_hash=True)
class AttemptContext:
    """For backends. One per attempt."""

    request_id: str
    number: int
    """1 for the first attempt of the request."""
    time_limit: float
    """Seconds that the attempt may take; the router cancels it then."""


@frozen(kw_only=True)
class RouteState:
    """For fallback decisions: what was possible, what was tried, what was refused."""

    candidates: tuple[Target, ...]
    attempts: tuple[AttemptRecord, ...]
    """The last one is the failure that is being decided on."""
    skipped: tuple[SkippedTarget, ...]
    attempts_left: int
    time_left: float
    """Seconds until the request's deadline."""
    ctx: DecisionContext
