"""How a request ends that no target answered: with an error that says why, or with its task's last resort."""

import logging

from attrs import evolve

from .asking import is_ctrl_c, raised
from .chat import Completion
from .errors import (
    AllTargetsFailed,
    AttemptFailed,
    BadRequest,
    ContentPolicy,
    ContextLength,
    Failure,
    Kind,
    PluginError,
    RouteError,
    StreamInterrupted,
)
from .recorder import Recorder

logger = logging.getLogger(__name__)

REQUEST_ERRORS: dict[Kind, type[BadRequest]] = {"context_length": ContextLength, "content_policy": ContentPolicy}
"""What the caller gets when the request itself is at fault."""

OWN_FAULT = (BadRequest, StreamInterrupted)
"""Endings that a last resort is no answer to: the request is wrong, or its answer had begun."""


def ended(
    recorder: Recorder,
    why: str,
    outcome: type[RouteError] | None = None,
    failure: Failure | None = None,
    partial: Completion | None = None,
) -> RouteError:
    """The error that a request ends with, the last failure as its cause."""
    known = [skip.retry_after for skip in recorder.skipped.values() if skip.retry_after is not None]
    known += [a.failure.retry_after for a in recorder.attempts if a.failure and a.failure.retry_after is not None]
    retry_after = min(known, default=None)
    if failure is None:
        return (outcome or AllTargetsFailed)(f"nothing was tried: {why}", retry_after=retry_after)
    last = recorder.attempts[-1]
    message = f"{why}; attempt {last.number}, on {last.target}: {failure}"
    error: RouteError
    if outcome is StreamInterrupted:
        error = StreamInterrupted(message, retry_after=retry_after, partial=partial)
    elif outcome is not None:
        error = outcome(message, retry_after=retry_after)
    elif failure.blames == "request":
        error = REQUEST_ERRORS.get(failure.kind, BadRequest)(message, retry_after=retry_after)
    elif failure.kind == "plugin":
        hook = failure.code or "complete"
        error = PluginError(message, plugin=last.target.backend, hook=hook, retry_after=retry_after)
    else:
        error = AllTargetsFailed(message, retry_after=retry_after)
    error.__cause__ = AttemptFailed(failure, partial)
    return error


def in_our_words(error: RouteError) -> str:
    """What an error says without the server's own words, which go to the caller and not to every sink."""
    cause = error.__cause__
    detail = cause.failure.detail if isinstance(cause, AttemptFailed) else None
    return str(error).removesuffix(f" [{detail}]") if detail else str(error)


def timeout(time_limit: float, *, clipped: bool, begun: bool) -> Failure:
    """A limit of time passed: the attempt's own, or what the deadline had left of it."""
    late = "the deadline passed" if clipped else "nothing more came in time"
    return Failure.of(
        "timeout",
        late if begun else f"no answer within {time_limit:.3g} s",
        breaker="neutral" if clipped else None,
        delivery="possibly_billed",
    )


def interrupted(failure: Failure) -> Failure:
    """A failure after the first content: it blames what it blamed, but never the request, which was being answered."""
    if failure.blames == "request":
        return evolve(failure, kind="interrupted", blames="model", breaker="counts")
    return evolve(failure, kind="interrupted")


def last_resort(recorder: Recorder, error: RouteError) -> str | None:
    """What the task says to answer when nobody did, or None where it says nothing or `error` is the request's own."""
    task = recorder.ctx.snapshot.config.tasks.get(recorder.request.task)
    if task is None or task.last_resort is None or isinstance(error, OWN_FAULT):
        return None
    if isinstance(task.last_resort, str):
        return task.last_resort
    try:
        text = task.last_resort(recorder.request)
    except BaseException as fault:
        if is_ctrl_c(fault):
            raise
        logger.error("the last resort of task %s %s", recorder.request.task, raised(fault))  # noqa: TRY400 - a traceback quotes
        return None
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] - it is the user's own function
        logger.error("the last resort of task %s returned %s, not text", recorder.request.task, type(text).__name__)
        return None
    return text
