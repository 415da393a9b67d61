"""A limit of time over a coroutine of somebody else's, which runs in the task that waits for it.

`asyncio.timeout` cancels the task, and then waits for as long as the coroutine likes. Here one that goes on when its
time is up is left to itself: what remains of it becomes a task of its own.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Generator
from types import coroutine
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")

GRACE = 0.02
"""Seconds that a plugin whose time is up gets to release what it holds; then it is left to itself."""

TURNS = 3
"""Turns of the event loop that what waits in a socket takes to become an answer or a piece of one."""

_left: set["asyncio.Task[Any]"] = set()
"""What is given up: an event loop holds its tasks weakly."""


@coroutine
def within(seconds: float, work: Coroutine[Any, Any, T], plugin: str) -> Generator[Any, Any, T]:
    """What `work` returns or raises; `TimeoutError` where that takes longer.

    A cancellation of the task reaches `work`, as with any `await`, and is raised when `work` is over: when its time
    is up, at the latest.
    """
    try:
        waits_for = work.send(None)
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
                    _keep(asyncio.create_task(_go_on(work)))
                    _warn(plugin)
                    raise
                waits_for = work.throw(error)
            else:
                waits_for = work.send(None)
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

    __slots__ = ("_cancelled", "_cancelled_before", "_lifted", "_loop", "_task", "_timer", "given_up")

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
        """Whether the work has gone on after its time."""
        self._lifted = False
        self._timer = self._loop.call_later(seconds, self._is_due)

    def _is_due(self) -> None:
        when_caught_up(self._pass)

    def _pass(self) -> None:
        if not self._lifted:
            self._timer = self._loop.call_later(GRACE, self._give_up)
            self._cancel()

    def _give_up(self) -> None:
        self.given_up = True
        self._cancel()

    def _cancel(self) -> None:
        self._cancelled += 1
        self._task.cancel()

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

    def check(self) -> None:
        """Raises `TimeoutError` where the time was up, and `CancelledError` where anyone else cancelled the task."""
        for _ in range(self._cancelled):
            self._task.uncancel()
        if self._task.cancelling() > self._cancelled_before:
            raise asyncio.CancelledError
        if self._cancelled:
            raise TimeoutError

    def lift(self) -> None:
        """The work is over."""
        self._lifted = True
        self._timer.cancel()


async def _go_on(work: Coroutine[Any, Any, object]) -> None:
    await _remains(work)


@coroutine
def _remains(work: Coroutine[Any, Any, object]) -> Generator[Any, Any, None]:
    """Runs what remains of a coroutine that another task began, and has been cancelled in."""
    error: BaseException | None = asyncio.CancelledError()
    while True:
        try:
            waits_for = work.throw(error) if error is not None else work.send(None)
        except StopIteration:
            return
        error = None
        try:
            yield waits_for
        except BaseException as raised:  # noqa: BLE001 - it is the coroutine's
            error = raised


async def release(task: "asyncio.Task[Any]", plugin: str) -> None:
    """Cancels a task and gives it a moment; one that does not end is left to itself."""
    _keep(task)
    task.cancel()
    await asyncio.wait((task,), timeout=GRACE)
    if not task.done():
        _warn(plugin)


def _keep(task: "asyncio.Task[Any]") -> None:
    _left.add(task)
    task.add_done_callback(_left.discard)


def _warn(plugin: str) -> None:
    logger.warning("plugin %s ignored the cancellation of an attempt and was left to itself", plugin)


def when_caught_up(call: Callable[..., object], *args: object, turns: int = TURNS) -> None:
    """Calls once the loop has handled what had arrived: where it was blocked, a limit passed before it could look."""
    if turns:
        asyncio.get_running_loop().call_soon(lambda: when_caught_up(call, *args, turns=turns - 1))
    else:
        call(*args)
