"""Carries a plan out: makes its attempts with real backends, waits its pauses."""

import asyncio
import logging
from collections.abc import Callable
from contextvars import copy_context

from .asking import is_ctrl_c, raised
from .chat import Completion
from .context import AttemptContext
from .errors import AttemptFailed, Failure
from .hooks import Backend
from .loops import Loops, OpenBackends
from .plan import Answered, Attempt, Failed, Outcome, Pause, Plan, TimedOut, plan
from .recorder import Recorder

logger = logging.getLogger(__name__)

CANCEL_GRACE = 0.02
"""Seconds that a cancelled backend gets to release what it holds; then it is left to itself."""


TIMED_OUT = TimedOut()

TURNS = 3
"""Turns of the event loop that what waits in a socket takes to become an answer or a piece of one."""


class Driver:
    """Drives plans in whatever event loop it is called in."""

    def __init__(self, loops: Loops) -> None:
        self.loops = loops
        self._cancelled: set[asyncio.Task[None]] = set()

    async def complete(self, here: OpenBackends, recorder: Recorder, time_allowed: float) -> Completion:
        """The whole answer to the recorder's request, or the `RouteError` that its plan ends with."""
        steps = plan(recorder, time_allowed)
        try:
            step = next(steps)
            while True:
                outcome = None
                if isinstance(step, Attempt):
                    outcome = await self._attempt(here, step, recorder)
                elif isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                step = steps.send(outcome)
        except StopIteration as stop:
            return stop.value
        except BaseException as error:
            tell(steps, error)
            raise

    async def _attempt(self, here: OpenBackends, step: Attempt, recorder: Recorder) -> Outcome:
        """One attempt, ended by its time limit even when the backend ignores its cancellation."""
        self.loops.check_open()
        backend = recorder.ctx.snapshot.hooks.backends.get(step.target.backend)
        if backend is None:
            unknown = f"{step.target}: no active backend has this name"
            return Failed(Failure.of("plugin", unknown, delivery="not_sent"))
        ctx = AttemptContext(request_id=recorder.request_id, number=step.number, time_limit=step.time_limit)
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Outcome] = loop.create_future()
        # One copy for both, which would make one each.
        context = copy_context()
        task = loop.create_task(self._answer(here, backend, step, recorder, ctx, outcome=outcome), context=context)
        timer = loop.call_later(step.time_limit, when_caught_up, resolve, outcome, TIMED_OUT, context=context)
        try:
            came = await outcome
        except GeneratorExit:
            # The coroutine is dropped, perhaps with its loop: there is nothing left to wait with.
            if not loop.is_closed():
                loop.call_soon_threadsafe(task.cancel)
            raise
        except BaseException:
            await self.release(task, backend.name)
            raise
        finally:
            timer.cancel()
        if not task.done():
            await self.release(task, backend.name)
        return came

    async def _answer(
        self,
        here: OpenBackends,
        backend: Backend,
        step: Attempt,
        recorder: Recorder,
        ctx: AttemptContext,
        *,
        outcome: "asyncio.Future[Outcome]",
    ) -> None:
        """Resolves `outcome` with what came of a backend's work; an unforeseen exception is the plugin's own fault."""
        hook = "start_backend"
        try:
            if backend not in here.ready:
                await here.open(backend)
            hook = "complete"
            completion = await backend.complete(step.target, recorder.request, ctx)
        except AttemptFailed as error:
            resolve(outcome, Failed(error.failure, error.partial))
        except asyncio.CancelledError:
            if outcome.done():
                raise
            resolve(outcome, plugin_failed(backend.name, hook, "cancelled itself"))
        except BaseException as error:  # whatever a plugin raises, sys.exit included
            if isinstance(error, GeneratorExit) or is_ctrl_c(error):
                raise
            resolve(outcome, plugin_failed(backend.name, hook, raised(error)))
        else:
            if isinstance(completion, Completion):  # pyright: ignore[reportUnnecessaryIsInstance] - a plugin may err
                resolve(outcome, Answered(completion))
            else:
                wrong = f"returned {type(completion).__name__}, not a Completion"
                resolve(outcome, plugin_failed(backend.name, hook, wrong))

    async def release(self, task: "asyncio.Task[None]", plugin: str) -> None:
        """Cancels an attempt and gives it a moment; one that does not end is left to itself."""
        task.cancel()
        self._cancelled.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._cancelled.discard)
        await asyncio.wait((task,), timeout=CANCEL_GRACE)
        if not task.done():
            logger.warning("plugin %s ignored the cancellation of an attempt and was left to itself", plugin)


def tell(steps: Plan, error: BaseException) -> None:
    """Lets a plan that is still running record that its driver was cancelled or dropped."""
    try:
        steps.throw(error)
    except BaseException as same:
        if same is not error:
            raise


def resolve(outcome: "asyncio.Future[Outcome]", value: Outcome) -> bool:
    """Whether this is the outcome: whatever comes first is."""
    if outcome.done():
        return False
    outcome.set_result(value)
    return True


def when_caught_up(call: Callable[..., object], *args: object, turns: int = TURNS) -> None:
    """Calls once the loop has handled what had arrived: where it was blocked, a limit passed before it could look."""
    if turns:
        asyncio.get_running_loop().call_soon(lambda: when_caught_up(call, *args, turns=turns - 1))
    else:
        call(*args)


def plugin_failed(plugin: str, hook: str, what: str, partial: Completion | None = None) -> Failed:
    """The outcome where a backend plugin itself is at fault; no provider is blamed."""
    delivery = "not_sent" if hook == "start_backend" else "possibly_billed"
    return Failed(Failure.of("plugin", f"plugin {plugin}: {hook} {what}", code=hook, delivery=delivery), partial)
