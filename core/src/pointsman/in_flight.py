"""The requests that run in one event loop, so that a router that closes can end them there."""

import asyncio
from contextlib import suppress
from typing import Any
from weakref import ReferenceType, WeakSet, ref


class InFlight:
    """Each request runs in a task of its caller's; ending it does not end what else that task does."""

    def __init__(self) -> None:
        # Weakly, as the loop itself does: a task holds its loop, which may be dropped with all that it runs.
        self._running: dict[int, ReferenceType[asyncio.Task[Any]]] = {}
        self._cancelled_before: dict[int, int] = {}
        """How often those tasks were that had been cancelled when their requests began."""
        self._ended: WeakSet[asyncio.Task[Any]] = WeakSet()
        self._ending = False
        """Whether any was ended: cheaper to ask, for every request."""
        self._all_left = asyncio.Event()

    def enter(self, task: "asyncio.Task[Any]") -> bool:
        """A request begins to run in this task. Whether it is none inside of another request there."""
        if id(task) in self._running:
            return False
        self._running[id(task)] = ref(task)
        if cancelled := task.cancelling():
            self._cancelled_before[id(task)] = cancelled
        return True

    @property
    def are_several(self) -> bool:
        """Whether more than one runs."""
        return len(self._running) > 1

    def is_cancelled(self, task: "asyncio.Task[Any] | None") -> bool:
        """Whether anyone has cancelled the task since its request began."""
        return task is None or id(task) not in self._running or self._cancellations(task) > 0

    def was_ended(self, task: "asyncio.Task[Any]") -> bool:
        """Whether a cancellation came from here alone: whoever cancels the task too is to see that it was."""
        return task in self._ended and self._cancellations(task) == 1

    def _cancellations(self, task: "asyncio.Task[Any]") -> int:
        """How many since its request began."""
        return task.cancelling() - self._cancelled_before.get(id(task), 0)

    def leave(self, task: "asyncio.Task[Any]") -> None:
        """The request is over."""
        self._running.pop(id(task), None)
        if self._cancelled_before:
            self._cancelled_before.pop(id(task), None)
        if self._ending and task in self._ended:
            task.uncancel()
            self._ended.discard(task)
            if not self._ended:
                self._all_left.set()

    async def end(self, timeout: float) -> None:  # noqa: ASYNC109 - what is late is left, not an error
        """Ends what runs, and returns when all of it is recorded, or after `timeout` seconds."""
        self._ending = True
        for reference in tuple(self._running.values()):
            task = reference()
            if task is not None and task not in self._ended:
                self._ended.add(task)
                task.cancel()
        if self._ended:
            self._all_left.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._all_left.wait()
