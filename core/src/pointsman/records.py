"""What a sink that keeps the events can be asked for: finished requests, one flat record each."""

import json
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from types import NoneType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from attrs import fields, frozen, has

from .decision import RequestOutcome
from .targets import Target

if TYPE_CHECKING:
    from .events import RequestFinished


@frozen(kw_only=True, slots=False)
class RecordedRequest:
    """One finished request. Times are in seconds, `cost` in US dollars; unknown is None."""

    request_id: str
    time: float
    """When it ended: wall clock, seconds since the epoch."""
    task: str
    unit: str | int | None
    rollout: str | None
    path: str | None
    """The assigned one, whatever served."""
    bucket: float | None
    """As in `Assignment`: None where the unit was not assigned by chance, so that it proves nothing about a path."""
    share: float | None
    """As in `Assignment`."""
    outcome: RequestOutcome
    why: str
    """Why it ended without an answer."""
    model: str | None
    """Who answered: the model's short name."""
    backend: str | None
    """Who answered."""
    fell_back: bool
    """Whether something else than the first candidate answered, or nothing did."""
    attempts: int
    duration: float
    time_to_first_token: float | None
    """Since the request began; None for whole answers."""
    input_tokens: int | None
    output_tokens: int | None
    cost: float | None
    """Of all its attempts."""
    decision: str
    """The whole record as JSON, by the names of its fields, without what servers said in their own words."""

    @classmethod
    def of(cls, event: "RequestFinished") -> Self:
        """What is to be kept of a finished request."""
        decision = event.decision
        assignment, attempts, served = decision.assignment, decision.attempts, decision.served
        usages = [attempt.usage for attempt in attempts if attempt.usage is not None]
        last = attempts[-1] if attempts else None
        first_token = last.time_to_first_token if last and decision.outcome == "answered" else None
        return cls(
            request_id=decision.request_id,
            time=event.time,
            task=decision.task,
            unit=decision.unit,
            rollout=assignment.rollout if assignment else None,
            path=decision.path,
            bucket=assignment.bucket if assignment else None,
            share=assignment.share if assignment else None,
            outcome=event.outcome,
            why=decision.why,
            model=served.model if served else None,
            backend=served.backend if served else None,
            fell_back=decision.fell_back,
            attempts=len(attempts),
            duration=event.duration,
            time_to_first_token=last.started + first_token if last and first_token is not None else None,
            input_tokens=_sum(usage.input_tokens for usage in usages),
            output_tokens=_sum(usage.output_tokens for usage in usages),
            cost=_sum(usage.cost for usage in usages),
            decision=json.dumps(plain(decision), ensure_ascii=False),
        )


N = TypeVar("N", int, float)


def _sum(known: Iterable[N | None]) -> N | None:
    """Of what is known; None where nothing is."""
    there = [one for one in known if one is not None]
    return sum(there[1:], start=there[0]) if there else None


def plain(value: object) -> Any:
    """As JSON knows it; a target by its three names. What servers said is left out: nobody has reviewed it."""
    if isinstance(value, Target):
        return {"model": value.model, "backend": value.backend, "name": value.name}
    if has(type(value)):
        return {a.name: plain(getattr(value, a.name)) for a in fields(type(value)) if a.name not in _LEFT_OUT}
    if isinstance(value, (tuple, list)):
        return [plain(inner) for inner in cast("Sequence[object]", value)]
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in cast("Mapping[object, object]", value).items()}
    if isinstance(value, float):
        return value if isfinite(value) else None
    return value if isinstance(value, (str, int, NoneType)) else str(value)


_LEFT_OUT = ("detail", "context")
"""Fields: a server's own words, and a caller's context variables."""


@frozen(kw_only=True)
class RecordQuery:
    """Which finished requests are wanted. None asks for all; what is given has to fit, all of it."""

    since: float | None = None
    """Seconds since the epoch, this moment included."""
    until: float | None = None
    """This moment not included."""
    task: str | None = None
    model: str | None = None
    path: str | None = None
    rollout: str | None = None
    outcome: RequestOutcome | None = None
    unit: str | None = None
    """As text, also for a unit that is a number."""
    request_id: str | None = None
    """The beginning of one does."""
    limit: int | None = None
    """The newest so many."""
