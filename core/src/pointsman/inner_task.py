"""A task that runs inside the task of its caller, without another turn of the event loop.

`asyncio.current_task()` in its coroutine is this one: what limits, groups and cancel scopes in there do to their task
never reaches the caller's, and who cancels the caller is told apart from who cancels something inside. It is as asyncio
provides for tasks of others' making: https://docs.python.org/3/library/asyncio-extending.html#task-lifetime-support
"""

import asyncio
from asyncio.tasks import (
    _enter_task,  # pyright: ignore[reportPrivateUsage] - documented there
    _leave_task,  # pyright: ignore[reportPrivateUsage] - as above
)
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from typing import Any, cast

Callback = Callable[[Any], object]


class InnerTask:
    """What a coroutine sees as its task. It runs in a copy of the caller's context, and is done when that is over."""

    _requests = 0
    _must_cancel = False
    _fut_waiter: "asyncio.Future[Any] | None" = None
    """What the coroutine waits for. Under these two names anyio looks for them."""
    _waiter: "asyncio.Future[Any] | None" = None
    """What the caller's task waits for meanwhile."""
    _done = False
    _name: str | None = None
    _callbacks: tuple[tuple[Callback, Context | None], ...] = ()
    came: asyncio.CancelledError | None = None
    """The cancellation of the caller, once it has reached the coroutine."""

    def __init__(self, work: Coroutine[Any, Any, Any], caller: "asyncio.Task[Any]") -> None:
        self.loop = caller.get_loop()
        self._work = work
        self._caller = caller
        # A cancellation that has not arrived yet is one of those to come.
        self._cancelled_before = caller.cancelling() - getattr(caller, "_must_cancel", False)
        self.context = copy_context()

    # As any task

    def cancel(self, msg: object = None) -> bool:
        if self._done:
            return False
        self._requests += 1
        if self._fut_waiter is None or not self._fut_waiter.cancel(msg):
            self._must_cancel = True
        return True

    def cancelling(self) -> int:
        return self._requests

    def uncancel(self) -> int:
        self._requests = max(self._requests - 1, 0)
        return self._requests

    def done(self) -> bool:
        return self._done

    def cancelled(self) -> bool:
        return False

    def add_done_callback(self, fn: Callback, /, *, context: Context | None = None) -> None:
        if self._done:
            self.loop.call_soon(fn, self, context=context)
        else:
            self._callbacks = (*self._callbacks, (fn, context))

    def remove_done_callback(self, fn: Callback, /) -> int:
        before = self._callbacks
        self._callbacks = tuple(one for one in before if one[0] != fn)
        return len(before) - len(self._callbacks)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self.loop

    def get_coro(self) -> Coroutine[Any, Any, Any]:
        return self._work

    def get_context(self) -> Context:
        return self.context

    def get_name(self) -> str:
        return self._caller.get_name() if self._name is None else self._name

    def set_name(self, value: object) -> None:
        self._name = str(value)

    # Run by the caller's task

    def step(self, resume: Callable[[Any], Any], value: object) -> Any:
        """Runs the coroutine until it waits: what it waits for."""
        loop, caller, this = self.loop, self._caller, cast("asyncio.Task[Any]", self)
        _leave_task(loop, caller)
        _enter_task(loop, this)
        try:
            return self.context.run(resume, value)
        finally:
            _leave_task(loop, this)
            _enter_task(loop, caller)

    def lets_caller_wait(self, future: object) -> bool:
        """Whether the caller's task may wait for it itself, as it can be woken from it at any moment.

        Not so for a task: it may refuse to be cancelled, and whoever awaits it is cancelled no sooner than it ends.
        """
        if type(future) is asyncio.Future:
            self._waits_for(cast("asyncio.Future[Any]", future))
            self._waiter = self._fut_waiter
            return True
        # What no task can wait for, the caller's refuses with the error that any task has for it.
        if not isinstance(future, asyncio.Future):
            return True
        return future is self._caller or future.get_loop() is not self.loop

    async def wait(self, future: "asyncio.Future[Any]") -> None:
        """Waits as a task does, but not after `wake_caller`."""
        self._waits_for(future)
        while not future.done():
            self._waiter = waiter = self.loop.create_future()
            wake = partial(_wake, waiter)
            future.add_done_callback(wake)
            try:
                await waiter
            except asyncio.CancelledError as error:
                if not self.hears(error) or not future.cancel(*error.args):
                    raise
            finally:
                future.remove_done_callback(wake)

    def go_on(self, error: BaseException | None) -> Any:
        """The next step, after what it waited for came, or raised this."""
        self._fut_waiter = self._waiter = None
        if self._must_cancel:
            self._must_cancel = False
            if not isinstance(error, asyncio.CancelledError):
                error = asyncio.CancelledError()
        return self.step(self._work.send, None) if error is None else self.step(self._work.throw, error)

    def hears(self, error: BaseException | None) -> bool:
        """Whether this is a cancellation of the caller's, of which it had not heard."""
        if not isinstance(error, asyncio.CancelledError) or not self._caller_is_cancelled() or self.came is not None:
            return False
        self.came = error
        self._requests += 1
        return True

    def end(self) -> None:
        """The coroutine is over."""
        self._done = True
        if self._callbacks:
            with suppress(RuntimeError):  # the loop is closed
                for call, context in self._callbacks:
                    self.loop.call_soon(call, self, context=context)

    # From the event loop

    def wake_caller(self) -> None:
        """Ends the waiting, whatever the coroutine waits for."""
        if self._waiter is not None:
            self._waiter.cancel()

    def _waits_for(self, future: "asyncio.Future[Any]") -> None:
        self._fut_waiter = future
        if self._must_cancel:
            self._must_cancel = not future.cancel()

    def _caller_is_cancelled(self) -> bool:
        return self._caller.cancelling() > self._cancelled_before


def _wake(waiter: "asyncio.Future[None]", _: object) -> None:
    if not waiter.done():
        waiter.set_result(None)
