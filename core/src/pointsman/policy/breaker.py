"""Keeps attempts away from what is known to fail, by what each failure blames.

| blames | whose circuit |
|---|---|
| model | the target's: that model on that backend |
| quota | the allowance's: every target that draws on it |
| backend | the backend's: all its targets |
| request, nobody | none |

What a failure means for it, a strike, opening at once or nothing, the backend has said in `Failure.breaker`.
A success counts for all three. A server that answers at all is there: where it blames a model or a
quota, that is a success of the backend.
"""

import logging
from collections.abc import Sequence
from functools import lru_cache

from attrs import define, field, frozen, validators

from ..context import DecisionContext
from ..decision import AttemptOutcome
from ..errors import Failure
from ..events import CircuitChanged, CircuitScope
from ..hookspecs import Gate, hookimpl
from ..per_process import PerProcess
from ..settings import Seconds
from ..targets import Target
from ..verdicts import GateStatus, Permit, SkipTarget
from .circuit import Thresholds
from .circuits import CircuitKey, CircuitStore, Effect, InProcess, Lease, Moved, Opens, Shut

logger = logging.getLogger(__name__)

BLAMED: dict[str, CircuitScope] = {"model": "target", "quota": "quota", "backend": "backend"}
"""Whose circuit a failure moves."""

LOUD = frozenset({"auth", "payment"})
"""Kinds that nobody but a person can put right."""


@frozen(eq=False)
class _Leased(Permit):
    lease: Lease
    store: CircuitStore
    """Whose the lease is."""


@define(eq=False)
class _InThisProcess:
    store: CircuitStore
    permits: dict[Target, _Leased] = field(factory=dict[Target, _Leased], init=False)
    """The last one of each target: while nothing moves, it is good for one attempt after the other."""


@define(eq=False, kw_only=True)
class Breaker(Gate):
    """Opens on repeated failure, lets one attempt through to see, and closes when that succeeds."""

    failures_in_a_row: int = field(default=5, validator=validators.ge(1))
    failure_share: float = field(default=0.5, validator=[validators.gt(0.0), validators.le(1.0)])
    """Of at least `of_at_least` attempts within `window`; then it opens too."""
    of_at_least: int = field(default=20, validator=validators.ge(1))
    window: Seconds = field(default=Seconds(30.0), validator=validators.gt(Seconds(0.0)))
    open_for: Seconds = field(default=Seconds(5.0), validator=validators.gt(Seconds(0.0)))
    """At first; twice as long after each attempt that was let through and failed."""
    open_at_most: Seconds = field(default=Seconds(120.0), validator=validators.gt(Seconds(0.0)))
    opens_at_once_for: Seconds = field(default=Seconds(60.0), validator=validators.gt(Seconds(0.0)))
    """After a failure that opens at once, where the server does not say how long to stay away."""
    probe_lease: Seconds = field(default=Seconds(60.0), validator=validators.gt(Seconds(0.0)))
    """How long the attempt that was let through keeps others out at least, should nothing be heard of it."""
    _here: PerProcess[_InThisProcess] = field(init=False)

    def __attrs_post_init__(self) -> None:
        thresholds = Thresholds(
            in_a_row=self.failures_in_a_row,
            share=self.failure_share,
            at_least=self.of_at_least,
            window=self.window,
            open_for=self.open_for,
            open_at_most=self.open_at_most,
            opens_at_once_for=self.opens_at_once_for,
            lease=self.probe_lease,
        )
        self._here = PerProcess(lambda: _InThisProcess(InProcess(thresholds)))

    @hookimpl
    def admit(self, target: Target, ctx: DecisionContext) -> Permit | SkipTarget:
        here = self._here.here()
        known = here.permits.get(target)
        if known is not None and here.store.still_holds(known.lease):
            return known
        answer, moved = here.store.admit(_keys(target), ctx.now, ctx.deadline)
        if moved:
            _announce(moved, ctx)
        if isinstance(answer, Shut):
            return SkipTarget(_why(answer), retry_after=answer.retry_after)
        permit = here.permits[target] = _Leased(target, answer, here.store)
        return permit

    @hookimpl
    def settle(
        self, permit: Permit, outcome: AttemptOutcome | None, failure: Failure | None, ctx: DecisionContext
    ) -> None:
        if not isinstance(permit, _Leased):
            raise TypeError(f"a permit of another gate: {type(permit).__name__}")
        if outcome == "answered":
            moved = permit.store.succeed(permit.lease, ctx.clock())
        else:
            effects = _effects(_keys(permit.target), failure if outcome == "failed" else None)
            why = failure.message if failure else ""
            moved = permit.store.settle(permit.lease, effects, why, ctx.now, lambda: ctx.random.random())  # noqa: PLW0108 - seeding takes longer than all of this
        if moved:
            _announce(moved, ctx)
            if failure is not None and failure.kind in LOUD:
                _warn(moved, failure)

    @hookimpl
    def report_gate(self, ctx: DecisionContext) -> list[GateStatus]:
        return [
            GateStatus(
                scope=one.key.scope, name=one.key.name, state=one.state, why=one.why, retry_after=one.retry_after
            )
            for one in self._here.here().store.readings(ctx.now)
        ]


@lru_cache(maxsize=4096)
def _keys(target: Target) -> tuple[CircuitKey, ...]:
    return (
        CircuitKey("target", str(target)),
        CircuitKey("backend", target.backend),
        CircuitKey("quota", target.allowance),
    )


def _effects(keys: tuple[CircuitKey, ...], failure: Failure | None) -> list[Effect]:
    """What a failure means for each circuit; None is an attempt that was cut off or never began."""
    if failure is None or failure.blames not in BLAMED:
        return ["neutral"] * len(keys)
    scope = BLAMED[failure.blames]
    behind: Effect = "succeeded" if failure.delivery == "answered" else "neutral"
    return [
        _effect_where_blamed(failure) if key.scope == scope else behind if key.scope == "backend" else "neutral"
        for key in keys
    ]


def _effect_where_blamed(failure: Failure) -> Effect:
    if failure.breaker == "opens":
        return Opens(failure.retry_after)
    return "failed" if failure.breaker == "counts" else "neutral"


def _why(shut: Shut) -> str:
    return f"the circuit of {shut.key.scope} {shut.key.name} is open" + (f": {shut.why}" if shut.why else "")


def _announce(moved: Sequence[Moved], ctx: DecisionContext) -> None:
    for one in moved:
        change = one.change
        ctx.emit(
            CircuitChanged(
                time=ctx.wall_clock(),
                scope=one.key.scope,
                name=one.key.name,
                before=change.before,
                after=change.after,
                why=change.why,
                open_for=change.open_for,
            )
        )


def _warn(moved: Sequence[Moved], failure: Failure) -> None:
    """Says once that a person has to do something; not again at every attempt that sees whether one has."""
    for one in moved:
        if one.change.before == "closed" and one.change.after == "open":
            logger.error("%s %s: %s; nothing but a person can put this right", *one.key, failure.message)
