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
        self._ended: WeakSet[asyncio.Task[Any]] = WeakSet()
        self._ending = False
        """Whether any was ended: cheaper to ask, for every request."""
        self._all_left = asyncio.Event()

    def enter(self, task: "asyncio.Task[Any]") -> None:
        """A request begins to run in this task."""
        self._running[id(task)] = ref(task)

    @property
    def are_several(self) -> bool:
        """Whether more than one runs."""
        return len(self._running) > 1

    def was_ended(self, task: "asyncio.Task[Any]", cancelled_before: int) -> bool:
        """Whether a cancellation came from here alone: whoever cancels the task too is to see that it was."""
        return task in self._ended and task.cancelling() == cancelled_before + 1

    def leave(self, task: "asyncio.Task[Any]") -> None:
        """The request is over."""
        self._running.pop(id(task), None)
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
