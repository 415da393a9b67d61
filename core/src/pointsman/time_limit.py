"""A limit of time over a coroutine of somebody else's, which runs inside the task that waits for it.

`asyncio.timeout` cancels a coroutine, and then waits for as long as it likes. Here one that goes on when it was to end
is closed where it stands.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar

from .inner_task import InnerTask

logger = logging.getLogger(__name__)

T = TypeVar("T")

GRACE = 0.02
"""Seconds that a plugin which is to end gets to release what it holds."""

TURNS = 6
"""Turns of the event loop, at most, that what waits in a socket takes to become an answer or a piece of one."""

CLOSINGS = 10
"""How often a coroutine is closed that waits for something else each time it is."""


class TimeIsUp(TimeoutError):
    """It took longer."""


class CancelledItself(Exception):
    """It raised a `CancelledError` although it was not to end."""


@coroutine
def within(
    seconds: float, work: Coroutine[Any, Any, T], plugin: str, caller: "asyncio.Task[Any]"
) -> Generator[Any, Any, T]:
    """What `work` returns or raises. Raises `TimeIsUp` where that takes longer, and `CancelledItself`.

    A cancellation of the caller reaches `work`, and is raised when `work` is over. Where it is to end, it has `GRACE`
    seconds for that.
    """
    limited = _Limited(work, caller)
    began = limited.loop.time()
    try:
        waits_for = limited.step(work.send, None)
        limited.begin(began + seconds)
        while True:
            error = None
            try:
                if limited.lets_caller_wait(waits_for):
                    yield waits_for
                else:
                    yield from limited.wait(waits_for).__await__()
            except GeneratorExit as dropped:  # perhaps with its loop, and in another thread
                limited.context.run(work.throw, dropped)
                raise
            except BaseException as raised:  # noqa: BLE001 - what it waits for raised it, or the caller is cancelled
                error = raised
            if limited.given_up:
                limited.context.run(_close, work, plugin)
                break
            limited.hears(error)
            waits_for = limited.go_on(error)
    except StopIteration as over:
        if (ended := limited.ended_by()) is None:
            return over.value
    except asyncio.CancelledError as error:
        ended = limited.ended_by() or CancelledItself()
    else:
        ended = limited.ended_by() or asyncio.CancelledError()
    finally:
        limited.end()
        if limited.timer is not None:
            limited.timer.cancel()
    raise ended


class _Limited(InnerTask):
    """An inner task that is to end in time."""

    timer: asyncio.TimerHandle | None = None
    """What happens to it next, where nothing else does."""
    _passed = False
    """Whether its time was up."""
    given_up = False
    """Whether it has gone on although it was to end."""

    def begin(self, until: float) -> None:
        """It has time until then, on the loop's clock."""
        self.timer = self.loop.call_at(until, self._is_due)

    def hears(self, error: BaseException | None) -> bool:
        heard = super().hears(error)
        if heard and not self._passed:
            self._hurry()
        return heard

    def ended_by(self) -> BaseException | None:
        """The caller's cancellation, unless that was taken back; or that its time was up."""
        if self.came is not None and self._caller_is_cancelled():
            return self.came
        return TimeIsUp() if self._passed else None

    def _is_due(self) -> None:
        when_caught_up(self._pass)

    def _pass(self) -> None:
        if not self.done() and self.came is None:
            self._passed = True
            self._hurry()
            self.interrupt()

    def _hurry(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self.timer = self.loop.call_later(GRACE, self._give_up)

    def _give_up(self) -> None:
        if not self.done():
            self.given_up = True
            self.wake_caller()


def _close(work: Coroutine[Any, Any, object], plugin: str) -> None:
    """Ends a coroutine here and now."""
    logger.warning("plugin %s ignored the cancellation of an attempt and was closed where it stood", plugin)
    for _ in range(CLOSINGS):
        try:
            work.close()
        except RuntimeError:  # it waits for something else instead
            continue
        except BaseException as error:  # noqa: BLE001 - whatever a plugin raises on its way out
            logger.debug("plugin %s raised %s while it was closed", plugin, type(error).__name__)
        return


async def release(task: "asyncio.Task[Any]", plugin: str, left: "set[asyncio.Task[Any]]") -> None:
    """Cancels a task and gives it a moment; one that does not end is left to itself, among those that are `left`."""
    left.add(task)  # a loop itself holds tasks weakly
    task.add_done_callback(left.discard)
    task.cancel()
    await asyncio.wait((task,), timeout=GRACE)
    if not task.done():
        logger.warning("plugin %s ignored the cancellation of an attempt and was left to itself", plugin)


def when_caught_up(call: Callable[..., object], *args: object, turns: int = TURNS) -> None:
    """Calls once the loop has handled what had arrived: where it was blocked, a limit passed before it could look."""
    if turns:
        asyncio.get_running_loop().call_soon(lambda: when_caught_up(call, *args, turns=turns - 1))
    else:
        call(*args)
