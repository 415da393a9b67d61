"""Where to go after a failure, by what the failure blames.

| blames  | what it rules out |
|---------|-------------------|
| model   | that model on that backend |
| quota   | every target that draws on the same allowance |
| backend | every target of that backend |
| request | everything, but a larger context window may still take a prompt that is too long |
"""

from collections.abc import Sequence

from attrs import define, field, validators

from ..chat import Request
from ..context import RouteState
from ..errors import Failure
from ..hookspecs import FallbackDecision, hookimpl
from ..targets import Target
from ..verdicts import Next, Stop

BACKEND_IN_DOUBT = frozenset({"server", "timeout", "bad_response"})
"""Kinds that, on different models, say more about the backend than about the models."""


@define(eq=False, kw_only=True)
class Fallback(FallbackDecision):
    """Moves on to the first candidate that no failure so far rules out."""

    skip_backend_after: int = field(default=2, validator=validators.ge(1))
    """So many failures of kind server, timeout or bad_response on different models rule their backend out."""

    @hookimpl
    def decide_fallback(
        self,
        request: Request,  # noqa: ARG002 - the rules are the same for every request
        failure: Failure,
        state: RouteState,
    ) -> Next | Stop | None:
        if failure.blames == "request" and failure.kind != "context_length":
            return Stop("the request itself is at fault")
        tried = {attempt.target for attempt in state.attempts}
        left_out = {*tried, *[skip.target for skip in state.skipped]}
        failures = [(attempt.target, attempt.failure) for attempt in state.attempts if attempt.failure]
        eligible = [
            target for target in state.candidates if target not in left_out and not self._ruled_out(target, failures)
        ]
        if not eligible:
            return None
        why = f"after {failure.kind} on {state.attempts[-1].target}"
        if state.attempts_left == 1:
            backends = {target.backend for target in tried}
            untried = [target for target in eligible if target.backend not in backends]
            if untried and untried[0] != eligible[0]:
                return Next(untried[0], why=f"{why}, the last attempt is for a backend not yet tried")
        return Next(eligible[0], why=why)

    def _ruled_out(self, target: Target, failures: Sequence[tuple[Target, Failure]]) -> bool:
        for failed, failure in failures:
            if _rules_out(failure, failed, target):
                return True
        in_doubt = {
            failed.model
            for failed, failure in failures
            if failed.backend == target.backend and failure.kind in BACKEND_IN_DOUBT
        }
        return len(in_doubt) >= self.skip_backend_after


def _rules_out(failure: Failure, failed: Target, target: Target) -> bool:
    if failure.kind == "context_length":
        return failed.context is None or target.context is None or target.context <= failed.context
    if failure.blames == "backend":
        return target.backend == failed.backend
    return failure.blames == "quota" and target.allowance == failed.allowance
