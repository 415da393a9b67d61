"""Limits that are known beforehand, so that nobody runs into them.

Both kinds are counted here, in this process: attempts at one time, and attempts in any 60 seconds. A name
is a backend, a quota, or one target as `backend/model`.

The window is a list of the last moments, on the request's own clock. A rate-limiting library would read a clock
itself, and then neither a simulation nor a test could say what a configuration does in an hour.
"""

import threading
from collections import Counter, deque
from collections.abc import Iterator, Mapping

from attrs import Attribute, define, field, frozen, validators

from ..context import DecisionContext
from ..decision import AttemptOutcome
from ..errors import Failure
from ..hookspecs import Gate, hookimpl
from ..per_process import PerProcess
from ..settings import Seconds
from ..targets import Target
from ..verdicts import Permit, SkipTarget, WaitUntil

MINUTE = 60.0

LOOK_AGAIN = 0.05
"""Seconds after which somebody who waits for a place asks again."""


def _positive(instance: object, attribute: "Attribute[Mapping[str, int]]", value: Mapping[str, int]) -> None:  # noqa: ARG001 - attrs's signature
    for name, limit in value.items():
        if limit < 1:
            raise ValueError(f"{attribute.name}: the limit of {name} must be at least 1, not {limit}")


@frozen(eq=False)
class _Counted(Permit):
    names: tuple[str, ...]


class _Counts:
    """What is under way, and when attempts began."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.running: Counter[str] = Counter()
        self.began: dict[str, deque[float]] = {}

    def free_at(self, name: str, limit: int, now: float) -> float:
        """When the next attempt fits into the minute."""
        began = self.began.setdefault(name, deque())
        while began and began[0] <= now - MINUTE:
            began.popleft()
        return began[-limit] + MINUTE if len(began) >= limit else now


@define(eq=False, kw_only=True)
class Limits(Gate):
    """Holds attempts back that would pass a limit: for a moment where nothing else is left to try, else not at all."""

    concurrency: Mapping[str, int] = field(factory=dict[str, int], validator=_positive)
    """Attempts at one time."""
    per_minute: Mapping[str, int] = field(factory=dict[str, int], validator=_positive)
    """Attempts in any 60 seconds."""
    max_wait: Seconds = field(default=Seconds(10.0), validator=validators.ge(Seconds(0.0)))
    """From the beginning of a request; what frees later than that is skipped."""
    _counts: PerProcess[_Counts] = field(init=False)
    _limited: dict[Target, tuple[str, ...]] = field(factory=dict[Target, tuple[str, ...]], init=False)
    """For each target that was asked about, the names under which it has a limit."""

    def __attrs_post_init__(self) -> None:
        self._counts = PerProcess(_Counts)

    @hookimpl
    def admit(self, target: Target, ctx: DecisionContext) -> Permit | SkipTarget | WaitUntil | None:
        names = self._limited.get(target)
        if names is None:
            known = self.concurrency.keys() | self.per_minute.keys()
            names = self._limited[target] = tuple(name for name in _names(target) if name in known)
        if not names:
            return None
        now, counts = ctx.now, self._counts.here()
        with counts.lock:
            free, why = max(self._when_free(names, counts, now), default=(now, ""))
            if free <= now:
                for name in names:
                    counts.running[name] += 1
                    if name in self.per_minute:
                        counts.began[name].append(now)
                return _Counted(target, names)
        if free > ctx.began + self.max_wait:
            return SkipTarget(why, retry_after=free - now)
        return WaitUntil(free, why=why)

    @hookimpl
    def settle(
        self,
        permit: Permit,
        outcome: AttemptOutcome | None,
        failure: Failure | None,  # noqa: ARG002 - an attempt counts, whatever came of it
        ctx: DecisionContext,  # noqa: ARG002 - what is counted is the process's
    ) -> None:
        if not isinstance(permit, _Counted):
            raise TypeError(f"a permit of another gate: {type(permit).__name__}")
        counts = self._counts.here()
        with counts.lock:
            for name in permit.names:
                counts.running[name] -= 1
                if outcome is None and name in self.per_minute:
                    counts.began[name].pop()  # it never began, so it leaves its place to another

    def _when_free(self, names: tuple[str, ...], counts: _Counts, now: float) -> Iterator[tuple[float, str]]:
        for name in names:
            limit = self.concurrency.get(name)
            if limit is not None and counts.running[name] >= limit:
                yield now + LOOK_AGAIN, f"{name} is at its limit of {limit} at one time"
            limit = self.per_minute.get(name)
            if limit is not None:
                yield counts.free_at(name, limit, now), f"{name} is at its limit of {limit} a minute"


def _names(target: Target) -> Iterator[str]:
    yield target.backend
    yield f"{target.backend}/{target.model}"
    if target.quota:
        yield target.quota
