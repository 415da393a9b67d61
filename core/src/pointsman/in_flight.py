"""The requests that run in one event loop, so that a router that closes can end them there."""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any
from weakref import ReferenceType, WeakSet, ref

from .chat import Completion
from .errors import RouterClosed


class InFlight:
    """Each request runs in a task of its caller's; ending it does not end what else that task does."""

    def __init__(self) -> None:
        # Weakly, as the loop itself does: a task holds its loop, which may be dropped with all that it runs.
        self._running: dict[int, ReferenceType[asyncio.Task[Any]]] = {}
        self._ended: WeakSet[asyncio.Task[Any]] = WeakSet()
        self._ending = False
        """Whether any was ended: cheaper to ask, for every request."""
        self._all_left = asyncio.Event()

    async def run(self, request: Coroutine[Any, Any, Completion]) -> Completion:
        """What a request comes to; `RouterClosed` where it was ended before."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a request runs in a task")
        cancelled_before = task.cancelling()
        self._running[id(task)] = ref(task)
        try:
            return await request
        except asyncio.CancelledError:
            # Whoever cancels the task at the same moment is to see that it was.
            if task in self._ended and task.cancelling() == cancelled_before + 1:
                raise RouterClosed("the router was closed while this request was in flight") from None
            raise
        finally:
            del self._running[id(task)]
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
