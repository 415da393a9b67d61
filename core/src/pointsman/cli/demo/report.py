"""What the demo measured, from the events that its sink was told."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from attrs import frozen

from pointsman.chat import Completion
from pointsman.cli.output import plain
from pointsman.delivery import SinkReport
from pointsman.errors import RouteError
from pointsman.events import AttemptFinished, CircuitChanged, Event, RequestFinished

from .workload import Job


@frozen(kw_only=True)
class PathReport:
    """One path's requests."""

    path: str
    requests: int
    answered: int
    fell_back: int
    attempts: int
    median_seconds: float
    tokens: int
    cost: float


def by_path(events: Sequence[Event]) -> list[PathReport]:
    """A report for each path that units were assigned to."""
    finished = [event for event in events if isinstance(event, RequestFinished)]
    return [_report(path, [e for e in finished if e.path == path]) for path in sorted({str(e.path) for e in finished})]


def _report(path: str, requests: list[RequestFinished]) -> PathReport:
    attempts = [attempt for request in requests for attempt in request.decision.attempts]
    usages = [attempt.usage for attempt in attempts if attempt.usage]
    return PathReport(
        path=path,
        requests=len(requests),
        answered=sum(request.outcome == "answered" for request in requests),
        fell_back=sum(len(request.decision.attempts) > 1 for request in requests),
        attempts=len(attempts),
        median_seconds=median(request.duration for request in requests),
        tokens=sum((usage.input_tokens or 0) + (usage.output_tokens or 0) for usage in usages),
        cost=sum(usage.cost or 0 for usage in usages),
    )


def circuits(events: Sequence[Event]) -> list[CircuitChanged]:
    """What the breaker did."""
    return [event for event in events if isinstance(event, CircuitChanged)]


def document(
    work: Sequence[Job],
    results: Sequence[Completion | RouteError],
    events: Sequence[Event],
    reports: Sequence[SinkReport],
) -> dict[str, Any]:
    """Everything as one JSON document."""
    return {
        "calls": [
            {
                "task": job.task,
                "unit": job.unit,
                "about": job.about,
                "answered": isinstance(result, Completion),
                "text": result.text if isinstance(result, Completion) else None,
                "error": None if isinstance(result, Completion) else str(result),
                "decision": plain(result.decision),
            }
            for job, result in zip(work, results, strict=True)
        ],
        "answered": sum(isinstance(result, Completion) for result in results),
        "attempts": sum(isinstance(event, AttemptFinished) for event in events),
        "paths": plain(by_path(events)),
        "circuits": plain(circuits(events)),
        "sinks": plain(reports),
    }
