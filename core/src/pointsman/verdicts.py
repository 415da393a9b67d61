"""What the decision hooks answer.

What every request has is looked at once and thrown away, so it is not frozen: that would take most of its making.
"""

from collections.abc import Callable, Iterable

from attrs import define, field, frozen

from .decision import Assignment
from .events import CircuitScope, CircuitState
from .targets import Target

_as_tuple: Callable[[Iterable[Target]], tuple[Target, ...]] = tuple


@define
class Selection:
    """What a selection step leaves, in order, and why."""

    targets: tuple[Target, ...] = field(converter=_as_tuple)
    why: str
    assignment: Assignment | None = None
    """Where a rollout put the unit; a later step without one keeps it."""


@define
class Next:
    """Try `target`, after a pause of `after` seconds."""

    target: Target
    why: str = ""
    after: float = 0.0


@frozen
class Stop:
    """Give up, and say why."""

    why: str


@frozen(eq=False)
class Permit:
    """Leave to make one attempt. Subclass it to keep a lease in it."""

    target: Target


@frozen
class SkipTarget:
    """This target may not be tried now."""

    why: str
    retry_after: float | None = field(default=None, kw_only=True)
    """Seconds after which it may, where the gate knows."""


@frozen
class WaitUntil:
    """This target may be tried in a while."""

    time: float
    """On the clock of `ctx.now`, in seconds."""
    why: str = field(kw_only=True)


@frozen(kw_only=True)
class GateStatus:
    """What a gate says of one target, backend or quota."""

    scope: CircuitScope
    name: str
    state: CircuitState
    why: str = ""
    retry_after: float | None = None
    """Seconds until it may be tried, where it may not now."""
    plugin: str = ""
    """Whose gate it is; set by the router."""
