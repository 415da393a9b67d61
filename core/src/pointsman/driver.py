"""Carries a plan out: makes its attempts with real backends, waits its pauses."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from .asking import is_ctrl_c, raised
from .chat import Completion, Request
from .context import AttemptContext
from .errors import AttemptFailed, Failure
from .hooks import Backend
from .loops import Loops, OpenBackends
from .plan import Attempt, Failed, Outcome, Pause, Plan, TimedOut, plan
from .recorder import Recorder
from .targets import Target
from .time_limit import EndedItself, TimeIsUp, within

TIMED_OUT = TimedOut()


class Driver:
    """Drives plans in whatever event loop it is called in."""

    def __init__(self, loops: Loops) -> None:
        self.loops = loops

    async def complete(
        self, task: "asyncio.Task[Any]", here: OpenBackends, recorder: Recorder, time_allowed: float
    ) -> Completion:
        """The whole answer to the recorder's request, or the `RouteError` that its plan ends with."""
        steps = plan(recorder, time_allowed)
        try:
            step = next(steps)
            while True:
                outcome = None
                if isinstance(step, Attempt):
                    # With many in flight, the same code runs for all in a row: a processor is far quicker then.
                    in_turns = here.requests.are_several
                    if in_turns:
                        await asyncio.sleep(0)
                    self.loops.check_open()
                    plugin = step.target.backend
                    try:
                        answer = await within(step.time_limit, work(here, recorder, step), plugin, task)
                        outcome = answer if isinstance(answer, Completion) else wrong(answer, plugin)
                    except BaseException as error:  # noqa: BLE001 - whatever a plugin raises, sys.exit included
                        outcome = failed(error, plugin)
                    if in_turns:
                        await asyncio.sleep(0)
                elif isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                step = steps.send(outcome)
        except StopIteration as stop:
            return stop.value
        except BaseException as error:
            tell(steps, error)
            raise


def work(here: OpenBackends, recorder: Recorder, step: Attempt) -> Coroutine[Any, Any, object]:
    """What a backend does for an attempt. Raises `AttemptFailed` where there is none."""
    target, request = step.target, recorder.request
    backend = recorder.ctx.snapshot.hooks.backends.get(target.backend)
    if backend is None:
        raise AttemptFailed(Failure.of("plugin", f"{target}: no active backend has this name", delivery="not_sent"))
    ctx = AttemptContext(recorder.request_id, step.number, step.time_limit)
    if backend not in here.ready:
        return opened_first(here, backend, target, request, ctx)
    return backend.complete(target, request, ctx)


async def opened_first(
    here: OpenBackends, backend: Backend, target: Target, request: Request, ctx: AttemptContext
) -> object:
    """The same for a backend that is not open here yet."""
    await here.open(backend)
    return await backend.complete(target, request, ctx)


def wrong(answer: object, plugin: str) -> Failed:
    """What comes of a backend's work that has returned something else than a `Completion`."""
    return at_fault(plugin, f"returned {type(answer).__name__}, not a Completion")


def failed(error: BaseException, plugin: str) -> Outcome:
    """What comes of a backend's work that has raised. What ends the request itself is raised again."""
    if isinstance(error, AttemptFailed):
        return Failed(error.failure, error.partial)
    if isinstance(error, TimeIsUp):
        return TIMED_OUT
    if isinstance(error, EndedItself):
        return at_fault(plugin, str(error))
    if isinstance(error, (asyncio.CancelledError, GeneratorExit)) or is_ctrl_c(error):
        raise error
    return at_fault(plugin, raised(error))


def at_fault(plugin: str, what: str) -> Failed:
    """The outcome where the backend plugin itself is at fault."""
    return Failed(Failure.of_plugin(plugin, "complete", what))


def tell(steps: Plan, error: BaseException) -> None:
    """Lets a plan that is still running record that its driver was cancelled or dropped."""
    try:
        steps.throw(error)
    except BaseException as same:
        if same is not error:
            raise
