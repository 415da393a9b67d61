"""Carries a plan out: makes its attempts with real backends, waits its pauses."""

import asyncio

from .asking import is_ctrl_c, raised
from .chat import Completion
from .context import AttemptContext
from .errors import AttemptFailed, Failure
from .loops import Loops, OpenBackends
from .plan import Answered, Attempt, Failed, Outcome, Pause, Plan, TimedOut, plan
from .recorder import Recorder
from .time_limit import was_to_end, within

TIMED_OUT = TimedOut()


class Driver:
    """Drives plans in whatever event loop it is called in."""

    def __init__(self, loops: Loops) -> None:
        self.loops = loops

    async def complete(self, here: OpenBackends, recorder: Recorder, time_allowed: float) -> Completion:
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
                    try:
                        outcome = await within(step.time_limit, self._answer(here, step, recorder), step.target.backend)
                    except TimeoutError:
                        outcome = TIMED_OUT
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

    async def _answer(self, here: OpenBackends, step: Attempt, recorder: Recorder) -> Outcome:
        """What comes of a backend's work; an unforeseen exception is the plugin's own fault."""
        self.loops.check_open()
        backend = recorder.ctx.snapshot.hooks.backends.get(step.target.backend)
        if backend is None:
            unknown = f"{step.target}: no active backend has this name"
            return Failed(Failure.of("plugin", unknown, delivery="not_sent"))
        ctx = AttemptContext(recorder.request_id, step.number, step.time_limit)
        hook = "start_backend"
        try:
            if backend not in here.ready:
                await here.open(backend)
            hook = "complete"
            completion = await backend.complete(step.target, recorder.request, ctx)
        except AttemptFailed as error:
            return Failed(error.failure, error.partial)
        except asyncio.CancelledError:
            if was_to_end():
                raise
            return plugin_failed(backend.name, hook, "cancelled itself")
        except BaseException as error:  # whatever a plugin raises, sys.exit included
            if isinstance(error, GeneratorExit) or is_ctrl_c(error):
                raise
            return plugin_failed(backend.name, hook, raised(error))
        if isinstance(completion, Completion):  # pyright: ignore[reportUnnecessaryIsInstance] - a plugin may err
            return Answered(completion)
        return plugin_failed(backend.name, hook, f"returned {type(completion).__name__}, not a Completion")


def tell(steps: Plan, error: BaseException) -> None:
    """Lets a plan that is still running record that its driver was cancelled or dropped."""
    try:
        steps.throw(error)
    except BaseException as same:
        if same is not error:
            raise


def plugin_failed(plugin: str, hook: str, what: str, partial: Completion | None = None) -> Failed:
    """The outcome where a backend plugin itself is at fault; no provider is blamed."""
    delivery = "not_sent" if hook == "start_backend" else "possibly_billed"
    return Failed(Failure.of("plugin", f"plugin {plugin}: {hook} {what}", code=hook, delivery=delivery), partial)
