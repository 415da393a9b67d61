"""An event as JSON. The README's table lists every field."""

import json
import math
from itertools import pairwise
from typing import Any, Literal, TypeAlias

from attrs import asdict

from pointsman.chat import Usage
from pointsman.decision import AttemptRecord
from pointsman.errors import Failure
from pointsman.events import (
    AttemptFinished,
    AttemptStarted,
    CircuitChanged,
    ConfigChanged,
    ConfigRejected,
    Event,
    RequestFinished,
    RequestStarted,
    RolloutChanged,
    RolloutHalted,
    RolloutResumed,
    RouterEvent,
)
from pointsman.targets import Target

EventName: TypeAlias = Literal[
    "request_started",
    "attempt_started",
    "attempt_finished",
    "request_finished",
    "circuit_changed",
    "config_changed",
    "config_rejected",
    "rollout_changed",
    "rollout_halted",
    "rollout_resumed",
]

_NAMES: dict[type[Event], EventName] = {
    RequestStarted: "request_started",
    AttemptStarted: "attempt_started",
    AttemptFinished: "attempt_finished",
    RequestFinished: "request_finished",
    CircuitChanged: "circuit_changed",
    ConfigChanged: "config_changed",
    ConfigRejected: "config_rejected",
    RolloutChanged: "rollout_changed",
    RolloutHalted: "rollout_halted",
    RolloutResumed: "rollout_resumed",
}


def name_of(event: Event) -> EventName:
    """The event's name in JSON and in settings."""
    return _NAMES[type(event)]


def json_line(event: Event) -> str:
    """The event as one line of JSON, in ASCII, without a newline."""
    # ASCII goes through every stream whatever its encoding, and every parser restores the rest.
    return json.dumps({name: _finite(value) for name, value in fields_of(event).items()}, allow_nan=False)


def fields_of(event: Event) -> dict[str, Any]:
    """What the event tells, by the names that the JSON has. Unknown is None."""
    if isinstance(event, RouterEvent):
        return {"event": name_of(event), **asdict(event)}
    common = {
        "event": name_of(event),
        "time": event.time,
        "request_id": event.request_id,
        "task": event.task,
        "unit": event.unit,
        "path": event.path,
        "labels": dict(event.labels),
    }
    match event:
        case RequestStarted():
            return common
        case AttemptStarted():
            return common | {"number": event.number} | _target(event.target) | {"time_limit": event.time_limit}
        case AttemptFinished():
            return (
                common
                | {"number": event.number}
                | _target(event.target)
                | {
                    "outcome": event.outcome,
                    "duration": event.duration,
                    "time_to_first_token": event.time_to_first_token,
                }
                | asdict(event.usage or Usage())
                | {
                    "served_model": event.served_model,
                    "provider": event.provider,
                    "failure": event.failure and _failure(event.failure),
                    "inner": event.inner and asdict(event.inner),
                }
            )
        case RequestFinished():
            decision = event.decision
            return (
                common
                | _target(decision.served)
                | {
                    "outcome": event.outcome,
                    "duration": event.duration,
                    "attempts": len(decision.attempts),
                    "fallbacks": fallbacks(decision.attempts),
                    "skipped": len(decision.skipped),
                    "why": decision.why,
                }
            )


def fallbacks(attempts: tuple[AttemptRecord, ...]) -> int:
    """How often a request moved on to another target. Trying the same one again is none."""
    return sum(before.target != after.target for before, after in pairwise(attempts))


def _target(target: Target | None) -> dict[str, Any]:
    if target is None:
        return {"model": None, "backend": None, "wire_model": None}
    return {"model": target.model, "backend": target.backend, "wire_model": target.name}


def _failure(failure: Failure) -> dict[str, Any]:
    """Our words on a failure. `detail`, the server's own, stays out: it may be long, and nobody reviewed it."""
    return {
        "kind": failure.kind,
        "blames": failure.blames,
        "status": failure.status,
        "code": failure.code,
        "retry_after": failure.retry_after,
        "delivery": failure.delivery,
        "message": failure.message,
    }


def _finite(value: Any) -> Any:
    # JSON has no infinity: a limit that does not exist is unknown.
    return None if isinstance(value, float) and not math.isfinite(value) else value
