"""A limit of time over a coroutine of somebody else's, which runs inside the task that waits for it.

`asyncio.timeout` cancels a coroutine, and then waits for as long as it likes. Here one that goes on when it was to end
is closed where it stands.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar

from .asking import is_ctrl_c, raised
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


class EndedItself(Exception):
    """It raised what only somebody else's ending it raises in it. Says so."""


@coroutine
def within(
    seconds: float, work: Coroutine[Any, Any, T], plugin: str, caller: "asyncio.Task[Any]"
) -> Generator[Any, Any, T]:
    """What `work` returns or raises; where that takes longer it raises `TimeIsUp`. Raises `EndedItself`.

    A cancellation of the caller reaches `work`, and is raised when `work` is over, whatever came of that. Where it is
    to end, it has `GRACE` seconds for that.
    """
    limited = _Limited(work, caller)
    began, dropped = limited.loop.time(), False
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
            except GeneratorExit:  # dropped, perhaps with its loop, and in another thread
                dropped = True
                limited.context.run(_close, work, plugin)
                raise
            except BaseException as came:  # noqa: BLE001 - what it waits for raised it, or the caller is cancelled
                error = came
            if limited.given_up:
                logger.warning("plugin %s ignored the cancellation of an attempt and was closed where it stood", plugin)
                limited.context.run(_close, work, plugin)
                break
            limited.hears(error)
            waits_for = limited.go_on(error)
    except StopIteration as over:
        if (ended := limited.ended_by()) is None:
            return over.value
    except BaseException as error:
        if dropped or (ended := limited.ended_instead(error)) is None:
            raise
    else:
        ended = limited.ended_by() or asyncio.CancelledError()
    finally:
        limited.end()
    raise ended


class _Limited(InnerTask):
    """An inner task that is to end in time."""

    _timer: asyncio.TimerHandle | None = None
    _passed = False
    """Whether its time was up."""
    given_up = False
    """Whether it has gone on although it was to end."""

    def begin(self, until: float) -> None:
        """It has time until then, on the loop's clock."""
        self._timer = self.loop.call_at(until, self._is_due)

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

    def ended_instead(self, error: BaseException) -> BaseException | None:
        """What is raised in place of what the coroutine has raised; None where nothing is."""
        if is_ctrl_c(error):
            return None
        if (ended := self.ended_by()) is not None:
            return ended
        if isinstance(error, asyncio.CancelledError):
            return EndedItself("cancelled itself")
        return EndedItself(raised(error)) if isinstance(error, GeneratorExit) else None

    def end(self) -> None:
        InnerTask.end(self)
        if self._timer is not None:
            self._timer.cancel()

    def _is_due(self) -> None:
        when_caught_up(self._pass)

    def _pass(self) -> None:
        if not self.done() and self.came is None:
            self._passed = True
            self._hurry()
            self.cancel()

    def _hurry(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(GRACE, self._give_up)

    def _give_up(self) -> None:
        if not self.done():
            self.given_up = True
            self.wake_caller()


def _close(work: Coroutine[Any, Any, object], plugin: str) -> None:
    """Ends a coroutine here and now."""
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
