"""One request, decided without I/O.

`plan` is a generator. It yields what should be done next, an `Attempt` or a `Pause`, and is sent what
came of it. It selects, asks the gate, commits, falls back, counts and records; it reads no clock and
draws no number but through its context. Whoever drives it does the I/O: the router with real
backends, a simulator with a virtual clock.

    steps = plan(recorder, time_allowed)
    step = next(steps)
    while True:
        step = steps.send(await carry_out(step))   # StopIteration carries the Completion

A driver that is cancelled throws the exception in; one that is dropped closes the generator.
Either way the records are written, once.
"""

from collections.abc import Generator, Mapping
from math import inf
from typing import TypeAlias

from attrs import define

from .asking import Admission, Refusal, admit, decide_fallback, select, settle
from .chat import Completion
from .context import RouteState
from .decision import AttemptOutcome, Decision, SelectionStep, SkippedTarget
from .endings import ended, in_our_words, interrupted, last_resort, timeout
from .errors import DeadlineExceeded, Failure, NoTarget, RouteError, StreamInterrupted
from .recorder import Recorder
from .targets import Target
from .verdicts import Next, Stop

SHORTEST = 0.001
"""Seconds. A gate that wants less is asked again after this; with less left a deadline has passed."""


@define
class Attempt:
    """Make one HTTP request to `target`; answer with an `Outcome`."""

    target: Target
    number: int
    time_limit: float
    """Seconds: for the whole answer, or for the first content of a stream."""
    time_left: float
    """Seconds until the request's deadline."""


@define
class Pause:
    """Do nothing for so many seconds; answer with None."""

    seconds: float


@define
class Relay:
    """The answer has begun: hand it on, then answer with its `Outcome`. Nothing else can be tried now."""

    idle_timeout: float
    """Seconds without content after which it is timed out."""
    time_left: float
    """Seconds until the deadline."""


@define
class Committed:
    """The first content of a stream is there."""

    at: float
    """When it came, on the context's clock."""


@define
class Failed:
    """The attempt failed. `partial` is what had arrived of a stream."""

    failure: Failure
    partial: Completion | None = None


@define
class TimedOut:
    """The attempt's time limit passed. `partial` is as for `Failed`."""

    partial: Completion | None = None


Step: TypeAlias = Attempt | Pause | Relay
Outcome: TypeAlias = Completion | Committed | Failed | TimedOut
"""Of an attempt. A `Completion` is its whole answer."""
Plan: TypeAlias = Generator[Step, Outcome | None, Completion]


def plan(recorder: Recorder, time_allowed: float) -> Plan:
    """The steps that serve one request within `time_allowed` seconds.

    Returns the completion with its decision: an answer, or the task's last resort. Raises a `RouteError` with the
    decision, the last failure as its cause.
    """
    deadline = recorder.ctx.deadline = recorder.began + time_allowed
    try:
        try:
            _select(recorder)
        finally:
            recorder.request_started()
        completion = yield from _serve(recorder, deadline)
    except RouteError as error:
        text, why = last_resort(recorder, error), in_our_words(error)
        if text is None:
            error.decision = recorder.request_finished("failed", why)
            raise
        return Completion.of_text(text).with_decision(recorder.request_finished("last_resort", why))
    except GeneratorExit:
        recorder.request_finished("abandoned", "the caller dropped the request")
        raise
    except BaseException as error:
        recorder.request_finished("cancelled", f"the request was cancelled ({type(error).__name__})")
        raise
    return completion.with_decision(recorder.request_finished("answered"))


def explain(recorder: Recorder) -> Decision:
    """The decision for a request, without asking the gate or calling anyone."""
    try:
        _select(recorder)
    except RouteError as error:
        error.decision = recorder.decision()
        raise
    return recorder.decision()


def _select(recorder: Recorder) -> None:
    """Runs the selection pipeline over every configured target."""
    ctx = recorder.ctx
    recorder.candidates = ctx.snapshot.catalog.targets
    if not recorder.candidates:
        raise NoTarget("no target is configured; add [models] with an `on` table")
    for step in ctx.snapshot.hooks.select_model:
        selection = select(step, recorder.request, recorder.candidates, ctx)
        if selection is None:
            continue
        recorder.candidates = selection.targets
        if selection.assignment is not None:
            ctx.assignment = selection.assignment
        recorder.steps += (SelectionStep(step.plugin, selection.why, selection.targets),)
        if not selection.targets:
            raise NoTarget(f"{step.plugin} left no target: {selection.why}")


def _serve(recorder: Recorder, deadline: float) -> Plan:
    """Tries one target after the other until one answers, or the policy, the budget or the deadline ends it."""
    ctx = recorder.ctx
    opens: dict[Target, float] = {}
    failed: Failed | None = None
    while True:
        verdict = _verdict(recorder, failed, deadline, recorder.candidates, recorder.skipped)
        if isinstance(verdict, Stop):
            verdict = _wait_or_end(recorder, failed, deadline, opens, verdict)
        if verdict.after > 0:
            if ctx.now + verdict.after >= deadline:
                raise _ended(recorder, failed, f"waiting for {verdict.target} would pass the deadline")
            yield Pause(verdict.after)
            _time_left(recorder, failed, deadline)
        admission = _admit(recorder, verdict.target, opens)
        if admission is None:
            continue
        try:
            time_left = _time_left(recorder, failed, deadline)
        except DeadlineExceeded:
            settle(admission, None, None, ctx)
            raise
        time_limit, clipped = _time_limit(recorder, verdict.target, time_left)
        recorder.attempt_started(verdict.target, time_limit, verdict.why)
        begun = False
        try:
            outcome = yield Attempt(verdict.target, len(recorder.attempts) + 1, time_limit, time_left)
            if isinstance(outcome, Committed):
                begun = True
                recorder.answer_begun(outcome.at)
                outcome = yield Relay(ctx.snapshot.config.router.idle_timeout, deadline - ctx.now)
        except BaseException as error:
            _finish(recorder, admission, "abandoned" if isinstance(error, GeneratorExit) else "cancelled")
            raise
        if isinstance(outcome, Completion):
            _finish(recorder, admission, "answered", None, outcome)
            return outcome
        if begun:
            clipped = deadline - ctx.now < SHORTEST
        failed = _failed(outcome, time_limit, clipped=clipped, begun=begun)
        _finish(recorder, admission, "failed", failed.failure, failed.partial)
        if begun:
            # Content was shown: whatever broke now, nothing may be tried in its place.
            raise _ended(recorder, failed, "the stream broke after it had begun", StreamInterrupted)


def _admit(recorder: Recorder, target: Target, opens: dict[Target, float]) -> Admission | None:
    """Asks the gate, unless the target's backend cannot do what is asked. None is a refusal: the target is skipped."""
    cannot = _cannot_stream(recorder, target) if recorder.request.stream else None
    answer = cannot or admit(target, recorder.ctx)
    if not isinstance(answer, Refusal):
        if recorder.skipped:
            recorder.admitted(target)
        return answer
    recorder.refused(_skip(target, answer, recorder.ctx.now))
    if answer.until is not None:
        opens[target] = answer.until
    return None


def _cannot_stream(recorder: Recorder, target: Target) -> Refusal | None:
    """The refusal where the target's backend does not stream."""
    backend = recorder.ctx.snapshot.hooks.backends.get(target.backend)
    if backend is None or backend.stream is not None:
        return None
    return Refusal(plugin=target.backend, why="this backend does not stream")


def _verdict(
    recorder: Recorder,
    failed: Failed | None,
    deadline: float,
    candidates: tuple[Target, ...],
    skipped: Mapping[Target, SkippedTarget],
) -> Next | Stop:
    """The next target: the first candidate, or after a failure what the fallback policy says."""
    time_left = _time_left(recorder, failed, deadline)
    if failed is None:
        if not skipped:
            return Next(candidates[0], "the first candidate")
        for target in candidates:
            if target not in skipped:
                return Next(target, why="the first candidate that the gate admits")
        why = ", ".join(dict.fromkeys(f"{skip.why} ({skip.plugin})" for skip in skipped.values()))
        return Stop(f"every candidate was refused: {why}")
    attempts_left = _attempts_left(recorder)
    if attempts_left == 0:
        return Stop(f"the budget of {len(recorder.attempts)} attempts is spent")
    state = RouteState(
        candidates=candidates,
        attempts=recorder.attempts,
        skipped=tuple(skipped.values()),
        attempts_left=attempts_left,
        time_left=time_left,
        ctx=recorder.ctx,
    )
    return decide_fallback(recorder.request, failed.failure, state)


def _wait_or_end(
    recorder: Recorder, failed: Failed | None, deadline: float, opens: dict[Target, float], stop: Stop
) -> Next:
    """The target to wait for, where the gate opens for one that the policy would have; else raises the end."""
    soonest = tuple(sorted(opens, key=opens.__getitem__))
    verdict = _verdict(recorder, failed, deadline, soonest, {}) if soonest else stop
    if isinstance(verdict, Stop):
        raise _ended(recorder, failed, stop.why)
    pause = max(opens.pop(verdict.target) - recorder.ctx.now, verdict.after, SHORTEST)
    return Next(verdict.target, after=pause, why="no other target was left, and the gate opens")


def _time_left(recorder: Recorder, failed: Failed | None, deadline: float) -> float:
    """Seconds until the deadline. Raises `DeadlineExceeded` when there are none."""
    time_left = deadline - recorder.ctx.clock()
    if time_left < SHORTEST:
        raise _ended(recorder, failed, "the deadline passed", DeadlineExceeded)
    return time_left


def _ended(recorder: Recorder, failed: Failed | None, why: str, outcome: type[RouteError] | None = None) -> RouteError:
    failure, partial = (None, None) if failed is None else (failed.failure, failed.partial)
    return ended(recorder, why, outcome, failure, partial)


def _attempts_left(recorder: Recorder) -> int:
    return recorder.ctx.snapshot.config.router.max_attempts - len(recorder.attempts)


def _skip(target: Target, refusal: Refusal, now: float) -> SkippedTarget:
    after = refusal.retry_after if refusal.until is None else refusal.until - now
    retry_after = None if after is None or after == inf else max(after, 0.0)
    return SkippedTarget(target=target, why=refusal.why, plugin=refusal.plugin, retry_after=retry_after)


def _failed(outcome: Outcome | None, time_limit: float, *, clipped: bool, begun: bool) -> Failed:
    """How an attempt failed. `clipped`: it was the caller's time that was too short; `begun`: content was shown."""
    if isinstance(outcome, Failed):
        failed = outcome
    else:
        partial = outcome.partial if isinstance(outcome, TimedOut) else None
        failed = Failed(timeout(time_limit, clipped=clipped, begun=begun), partial)
    return Failed(interrupted(failed.failure), failed.partial) if begun else failed


def _finish(
    recorder: Recorder,
    admission: Admission,
    outcome: AttemptOutcome,
    failure: Failure | None = None,
    answer: Completion | None = None,
) -> None:
    settle(admission, outcome, failure, recorder.ctx)
    recorder.attempt_finished(outcome, failure, answer)


def _time_limit(recorder: Recorder, target: Target, time_left: float) -> tuple[float, bool]:
    """Seconds for an attempt, and whether they are too few to hold it against anyone that they were not enough.

    What could still be tried afterwards keeps `reserve` seconds each; when there is less than that,
    everyone gets the same. Too few is half of what a request's first attempt has by the configuration, or less:
    a caller in a hurry, or failures before it, have taken the rest.
    """
    router = recorder.ctx.snapshot.config.router
    limit = router.first_token_timeout if recorder.request.stream else router.attempt_timeout
    others = min(len(recorder.candidates), router.max_attempts - len(recorder.attempts)) - 1
    if time_left - router.reserve * others >= limit:
        return limit, False  # nearly always: there is time enough, however many are still to be tried
    done = {target, *(one.target for one in recorder.attempts), *recorder.skipped}
    others = min(others, len(recorder.candidates) - len(done.intersection(recorder.candidates)))
    time_limit = min(_share(time_left, others, router.reserve), limit)
    others_at_first = min(len(recorder.candidates), router.max_attempts) - 1
    usual = min(_share(router.deadline, others_at_first, router.reserve), limit)
    return time_limit, time_limit <= usual / 2


def _share(time_left: float, others: int, reserve: float) -> float:
    return max(time_left - reserve * others, time_left / (others + 1), SHORTEST)
