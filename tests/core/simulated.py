"""Configurations for simulations, and scripts that say what their backends do."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pointsman.events import CircuitChanged, Event, RequestEvent, RouterEvent
from pointsman.testing import Answers, Fails, SimulatedAttempt
from pointsman.testing.behaviours import Behaviour

Play = Callable[[SimulatedAttempt], Behaviour]


def routes(
    backends: Iterable[str] = ("proxy", "direct"),
    models: Iterable[str] = ("small", "large"),
    *,
    quotas: Mapping[str, str] | None = None,
    last_resort: object = None,
    **sections: Any,
) -> dict[str, Any]:
    """Every model on every backend, one task, one path; every built-in rule is on."""
    backends, models = tuple(backends), tuple(models)
    quotas = quotas or {}
    return {
        "models": {
            model: {"on": {backend: f"{backend}:{model}" for backend in backends}}
            | ({"quota": quotas[model]} if model in quotas else {})
            for model in models
        },
        "tasks": {"chat": {"models": list(models)} | ({"last_resort": last_resort} if last_resort is not None else {})},
        "paths": {"only": list(backends)},
        **sections,
    }


def always(behaviour: Behaviour) -> Play:
    return lambda _: behaviour


def by_target(behaviours: Mapping[str, Behaviour]) -> Play:
    """By `backend/model`, or by backend; others are answered."""
    return lambda attempt: behaviours.get(
        str(attempt.target), behaviours.get(attempt.target.backend, Answers(after=0.01))
    )


def in_turn(*behaviours: Behaviour) -> Play:
    """Each attempt the next one; then everything is answered."""
    left = iter(behaviours)
    return lambda _: next(left, Answers(after=0.01))


def until(time: float, behaviour: Behaviour) -> Play:
    """Then everything is answered."""
    return lambda attempt: behaviour if attempt.time < time else Answers(after=0.01)


FAST = Fails("server", after=0.01)


def requests(events: Iterable[Event]) -> list[RequestEvent]:
    """The events that belong to a request."""
    return [event for event in events if not isinstance(event, RouterEvent)]


def moves(events: Iterable[object]) -> list[str]:
    """What the circuits did: `target proxy/small open`."""
    return [f"{one.scope} {one.name} {one.after}" for one in events if isinstance(one, CircuitChanged)]
