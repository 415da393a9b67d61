"""A limit of time over a coroutine of somebody else's, which runs in the task that waits for it.

`asyncio.timeout` cancels the task, and then waits for as long as the coroutine likes. Here one that goes on all the
same is closed where it stands.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Generator
from contextvars import copy_context
from types import coroutine
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")

GRACE = 0.02
"""Seconds that a plugin whose time is up gets to release what it holds."""

PATIENCE = 0.25
"""Seconds that it gets when somebody else has cancelled the task: it may be a limit of its own, within its work."""

TURNS = 3
"""Turns of the event loop that what waits in a socket takes to become an answer or a piece of one."""

CLOSINGS = 10
"""How often a coroutine is closed that waits for something else each time it is."""


@coroutine
def within(seconds: float, work: Coroutine[Any, Any, T], plugin: str) -> Generator[Any, Any, T]:
    """What `work` returns or raises; `TimeoutError` where that takes longer.

    It runs in a copy of the context. A cancellation of the task reaches `work`, as with any `await`, and is raised when
    `work` is over, after `PATIENCE` seconds at the latest.
    """
    run = copy_context().run
    try:
        waits_for = run(work.send, None)
    except StopIteration as at_once:
        return at_once.value
    limit = _Limit(seconds)
    try:
        while True:
            try:
                if waits_for is None or type(waits_for) is asyncio.Future:
                    yield waits_for
                else:
                    yield from limit.wait(waits_for).__await__()
            except BaseException as error:
                if limit.given_up:
                    run(_close, work, plugin)
                    raise
                waits_for = run(work.throw, error)
                if isinstance(error, asyncio.CancelledError):
                    limit.look_after_a_cancellation()
            else:
                waits_for = run(work.send, None)
    except StopIteration as end:
        limit.check()
        return end.value
    except asyncio.CancelledError:
        limit.check()
        raise
    finally:
        limit.lift()


class _Limit:
    """The limit of work that has begun to wait. The time before cannot be limited: nothing else runs then."""

    __slots__ = ("_cancelled", "_cancelled_before", "_lifted", "_look", "_loop", "_task", "_timer", "given_up")

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task(self._loop)
        if task is None:
            raise RuntimeError("a request runs in a task")
        self._task = task
        self._cancelled_before = task.cancelling()
        self._cancelled = 0
        """How often by this limit."""
        self.given_up = False
        """Whether the work has gone on after it was to end."""
        self._lifted = False
        self._timer = self._loop.call_later(seconds, self._is_due)
        self._look: asyncio.TimerHandle | None = None

    def _is_due(self) -> None:
        when_caught_up(self._pass)

    def _pass(self) -> None:
        if not self._lifted:
            self._timer = self._loop.call_later(GRACE, self._give_up)
            self._cancel()

    def look_after_a_cancellation(self) -> None:
        """The work waits again although the task was cancelled: looks in a while whether that was taken back."""
        if self._look is None and not self._lifted:
            self._look = self._loop.call_later(PATIENCE, self._look_again)

    def _look_again(self) -> None:
        self._look = None
        if self._is_cancelled():
            self._give_up()

    def _give_up(self) -> None:
        if not self.given_up:
            self.given_up = True
            self._cancel()

    def _cancel(self) -> None:
        self._cancelled += 1
        self._task.cancel()

    def _is_cancelled(self) -> bool:
        """Whether by anyone else, who has not taken it back, as a limit within the work does when it is left."""
        return self._task.cancelling() - self._cancelled > self._cancelled_before

    async def wait(self, future: "asyncio.Future[Any]") -> None:
        """Waits for what is no plain future as `await` does, but not for longer than the limit.

        A task may refuse to be cancelled, and whoever awaits it is cancelled no sooner than it ends.
        """
        while not future.done():
            try:
                await asyncio.wait((future,))
            except asyncio.CancelledError:
                if self.given_up or not future.cancel():
                    raise
                self.look_after_a_cancellation()

    def check(self) -> None:
        """Raises `TimeoutError` where the work was to end, `CancelledError` where anyone else cancelled the task."""
        ours, self._cancelled = self._cancelled, 0
        for _ in range(ours):
            self._task.uncancel()
        if self._is_cancelled():
            raise asyncio.CancelledError
        if ours:
            raise TimeoutError

    def lift(self) -> None:
        """The work is over."""
        self._lifted = True
        self._timer.cancel()
        if self._look is not None:
            self._look.cancel()


def _close(work: Coroutine[Any, Any, object], plugin: str) -> None:
    """Ends a coroutine here and now, so that nothing of it can reach the task that it began in."""
    logger.warning("plugin %s ignored the cancellation of an attempt and was closed where it stood", plugin)
    for _ in range(CLOSINGS):
        try:
            work.close()
        except RuntimeError:  # it waits for something else instead
            continue
        except BaseException as error:  # noqa: BLE001 - whatever a plugin raises on its way out
            logger.debug("plugin %s raised %s while it was closed", plugin, type(error).__name__)
        return


_left: set["asyncio.Task[Any]"] = set()
"""An event loop holds its tasks weakly."""


async def release(task: "asyncio.Task[Any]", plugin: str) -> None:
    """Cancels a task and gives it a moment; one that does not end is left to itself."""
    _left.add(task)
    task.add_done_callback(_left.discard)
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
