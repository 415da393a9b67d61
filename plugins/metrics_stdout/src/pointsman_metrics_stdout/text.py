"""An event as one short line for people.

Attempts and the request that they belong to share the four letters after the time:

    12:03:04 3f9a #1 429 rate_limit   0.21 s  glm-4.5-air-free via litellm_backend
    12:03:05 3f9a #2 answered         1.32 s  gpt-oss-20b-free via litellm_backend
    12:03:05 3f9a =  answered         1.53 s  email-draft, 2 attempts, 114 tokens

A breaker that moves belongs to no request. The seconds are those that it stays open:

    12:03:06      !  open             5.00 s  backend litellm_backend: 5 failures in a row

Nor does a configuration file that changes:

    12:03:07      !  in use                   pointsman.toml has changed
    12:03:08      !  refused                  pointsman.toml:4:1 tasks: ... (and 2 more)

Nor does a rollout that somebody changes, or a guard halts:

    12:03:09      !  in use                   rollout default: proxied 50 %, direct the rest
    12:03:10      !  halted                   rollout default: everyone takes direct: proxied ...
"""

import time
from typing import TypeAlias

from pointsman.decision import AttemptOutcome, Decision, RequestOutcome
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

Columns: TypeAlias = tuple[str, str, float | None, str]
"""A mark for what the line is about, what came of it, seconds, and the rest of the story."""

_RESET, _DIM, _RED, _GREEN, _YELLOW = "\x1b[0m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[33m"
_COLOURS: dict[AttemptOutcome | RequestOutcome, str] = {
    "answered": _GREEN,
    "last_resort": _YELLOW,
    "failed": _RED,
    "cancelled": _YELLOW,
    "abandoned": _YELLOW,
}


def text_line(event: Event, *, colour: bool = False) -> str:
    """The event as one line without a newline, in local time. Most lines fit 80 columns."""
    mark, outcome, seconds, story = _columns(event)
    owner = "" if isinstance(event, RouterEvent) else event.request_id[-4:]
    when = f"{time.strftime('%H:%M:%S', time.localtime(event.time))} {_printable(owner):4}"
    outcome = f"{_printable(outcome):14}"
    took = "" if seconds is None else f"{seconds:.2f} s"
    if colour:
        when = f"{_DIM}{when}{_RESET}"
        if isinstance(event, AttemptFinished | RequestFinished):
            outcome = f"{_COLOURS[event.outcome]}{outcome}{_RESET}"
    return f"{when} {mark:2} {outcome} {took:>8}  {_printable(story)}"


def _columns(event: Event) -> Columns:
    match event:
        case RequestStarted():
            return ">", "started", None, _listed(event.task, event.path)
        case AttemptStarted():
            return f"#{event.number}", "started", None, _target(event.target)
        case AttemptFinished():
            outcome = _failure(event.failure) if event.failure else event.outcome
            return f"#{event.number}", outcome, event.duration, _target(event.target)
        case RequestFinished():
            return "=", event.outcome, event.duration, _listed(event.task, *_summary(event.decision))
        case CircuitChanged():
            return "!", event.after.replace("_", " "), event.open_for, f"{event.scope} {event.name}: {event.why}"
        case ConfigChanged():
            return "!", "in use", None, f"{event.file} has changed"
        case ConfigRejected():
            first, *others = event.problems
            return "!", "refused", None, f"{first} (and {len(others)} more)" if others else first
        case RolloutChanged():
            return "!", "off" if event.off else "in use", None, f"rollout {event.rollout}: {_shares(event)}"
        case RolloutHalted():
            return "!", "halted", None, f"rollout {event.rollout}: everyone takes {event.control}: {event.why}"
        case RolloutResumed():
            return "!", "resumed", None, f"rollout {event.rollout}: {event.path} has its share again"


def _shares(rollout: RolloutChanged) -> str:
    if rollout.off:
        return f"everyone takes {rollout.control}"
    return _listed(*(f"{path} {share:g} %" for path, share in rollout.shares.items()), f"{rollout.control} the rest")


def _summary(decision: Decision) -> tuple[str | None, ...]:
    attempts = decision.attempts
    counted = [attempt.usage for attempt in attempts if attempt.usage is not None]
    tokens = [n for usage in counted for n in (usage.input_tokens, usage.output_tokens) if n is not None]
    costs = [usage.cost for usage in counted if usage.cost is not None]
    return (
        f"{len(attempts)} attempts" if len(attempts) != 1 else None,
        f"{sum(tokens)} tokens" if tokens else None,
        f"${sum(costs):.4g}" if any(costs) else None,
        decision.why,
    )


def _failure(failure: Failure) -> str:
    return f"{failure.status} {failure.kind}" if failure.status else failure.kind


def _target(target: Target) -> str:
    return f"{target.model} via {target.backend}"


def _listed(*words: str | None) -> str:
    return ", ".join(word for word in words if word)


def _printable(text: str) -> str:
    # A task or a reason must neither break the line nor speak to the terminal.
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
