"""A second chance for a target, when nothing else is left to try.

While an untried target is left, moving on beats waiting, so this is asked after `fallback`. Retries are what turns an
overloaded server into a dead one, so they are paid for: each target has a budget that successes alone refill.
"""

import threading

from attrs import define, field, frozen, validators

from ..chat import Request
from ..context import DecisionContext, RouteState
from ..decision import AttemptOutcome, AttemptRecord
from ..errors import Failure, Kind
from ..hookspecs import FallbackDecision, Gate, hookimpl
from ..per_process import PerProcess
from ..settings import Seconds
from ..targets import Target
from ..verdicts import Next, Permit, SkipTarget

PASSING: frozenset[Kind] = frozenset({"connect", "server", "timeout", "bad_response"})
"""Kinds that may be over in a moment. So may `rate_limit`, where the server says when."""


ROUNDING = 1e-9
"""Ten tenths are one retry."""


class _Budget:
    """Retries that each target still has."""

    def __init__(self, size: float) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._spent: dict[Target, float] = {}
        """What is missing from a full budget, for those targets where something is."""

    def is_full(self, target: Target) -> bool:
        return not self._spent or target not in self._spent

    def has_one(self, target: Target) -> bool:
        return self._spent.get(target, 0.0) + 1 <= self._size + ROUNDING

    def spend(self, target: Target) -> bool:
        """Whether there was one left."""
        with self._lock:
            if not self.has_one(target):
                return False
            self._spent[target] = self._spent.get(target, 0.0) + 1
            return True

    def refill(self, target: Target, amount: float) -> None:
        with self._lock:
            spent = self._spent.pop(target, 0.0) - amount
            if spent > 0:
                self._spent[target] = spent


@frozen(eq=False)
class _Paid(Permit):
    """For an attempt that has cost a retry."""


@define(eq=False, kw_only=True)
class Retries(FallbackDecision, Gate):
    """Tries a target again after a pause, when no other is left and its failure may be over in a moment.

    The pause is chance, between 0 and a limit that doubles with each attempt on the target ("full jitter": Brooker,
    "Exponential Backoff And Jitter", 2015); or what the server asks for, where that is longer.
    """

    pause: Seconds = field(default=Seconds(0.5), validator=validators.gt(Seconds(0.0)))
    """The longest pause before a first retry."""
    pause_at_most: Seconds = field(default=Seconds(8.0), validator=validators.gt(Seconds(0.0)))
    budget: float = field(default=10.0, validator=validators.ge(0.0))
    """Retries that a target has to begin with, and at most, in each process."""
    refill: float = field(default=0.1, validator=[validators.ge(0.0), validators.le(1.0)])
    """Retries that an answer of the target adds."""
    _budgets: PerProcess[_Budget] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._budgets = PerProcess(lambda: _Budget(self.budget))

    @hookimpl
    def decide_fallback(
        self,
        request: Request,  # noqa: ARG002 - the rules are the same for every request
        failure: Failure,  # noqa: ARG002 - all failures so far are in the state
        state: RouteState,
    ) -> Next | None:
        refused = {skip.target for skip in state.skipped}
        tried = {target: [a for a in state.attempts if a.target == target] for target in state.candidates}
        # In turn, beginning with the candidate that is preferred.
        for target, tries in sorted(tried.items(), key=lambda item: len(item[1])):
            if not tries or target in refused:
                continue
            wait = self._wait(tries, state.ctx)
            budget = self._budgets.here()
            if wait is not None and wait < state.time_left and budget.has_one(target):
                # Paid for at the gate, when the attempt begins.
                state.ctx.memory = {**(state.ctx.memory or {}), self: target}
                return Next(target, after=wait, why=f"attempt {len(tries) + 1} on it: no other target is left")
        return None

    @hookimpl
    def admit(self, target: Target, ctx: DecisionContext) -> Permit | SkipTarget | None:
        """Pays for a retry; else wants to hear how an attempt ends where there is something to refill."""
        budget = self._budgets.here()
        if ctx.memory and ctx.memory.pop(self, None) == target:
            return _Paid(target) if budget.spend(target) else SkipTarget("its budget of retries is spent")
        return None if budget.is_full(target) else Permit(target)

    @hookimpl
    def settle(
        self,
        permit: Permit,
        outcome: AttemptOutcome | None,
        failure: Failure | None,  # noqa: ARG002 - only an answer refills
        ctx: DecisionContext,  # noqa: ARG002 - what is counted is the process's
    ) -> None:
        if outcome == "answered":
            self._budgets.here().refill(permit.target, self.refill)
        elif outcome is None and isinstance(permit, _Paid):
            self._budgets.here().refill(permit.target, 1.0)  # another gate refused, so it was not made

    def _wait(self, tries: list[AttemptRecord], ctx: DecisionContext) -> float | None:
        """Seconds before another attempt, or None where that is no use."""
        failure = tries[-1].failure
        if failure is None:
            return None
        asked = failure.retry_after
        if failure.kind not in PASSING and not (failure.kind == "rate_limit" and asked is not None):
            return None
        longest = min(self.pause * 2.0 ** min(len(tries) - 1, 60), self.pause_at_most)
        return max(ctx.random.uniform(0.0, longest), asked or 0.0)
