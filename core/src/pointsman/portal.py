"""The synchronous face's way in: one event loop in one daemon thread, started by the first call."""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

from .errors import RouterClosed

T = TypeVar("T")

INTERRUPT_GRACE = 1.0
"""Seconds that an interrupted call waits for its request to be released and recorded."""


class _Thread:
    """A thread that runs a loop until it is told to stop; what the loop still holds is then released."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self.loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self.thread = threading.Thread(target=self._main, name="pointsman-loop", daemon=True)
        self.thread.start()
        self._ready.wait()

    def _main(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._ready.set()
        await self._stop.wait()

    def stop(self, timeout: float) -> None:
        if self.thread.is_alive():
            self.loop.call_soon_threadsafe(self._stop.set)
            if self.thread is not threading.current_thread():
                self.thread.join(timeout)


class _Process:
    """What one process has of a portal."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.thread: _Thread | None = None


class Portal:
    """Runs coroutines for callers that have no loop. A forked child starts a thread of its own."""

    def __init__(self) -> None:
        self._by_process: dict[int, _Process] = {}
        self._closed = False

    def run(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The coroutine's result. An exception here, such as Ctrl-C, cancels it."""
        ended = threading.Event()

        async def until_ended() -> T:
            try:
                return await make()
            finally:
                ended.set()

        future: Future[T] = asyncio.run_coroutine_threadsafe(until_ended(), self._loop())
        try:
            return future.result()
        except CancelledError:
            if self._closed:
                raise RouterClosed("the router was closed while this request was in flight") from None
            raise
        except BaseException:
            if not future.done():
                future.cancel()
                ended.wait(INTERRUPT_GRACE)
            raise

    def close(self, timeout: float) -> None:
        """Stops the thread; requests in flight are cancelled."""
        self._closed = True
        here = self._by_process.get(os.getpid())
        if here is not None and here.thread is not None:
            here.thread.stop(timeout)

    def _loop(self) -> asyncio.AbstractEventLoop:
        if self._closed:
            raise RouterClosed("the router is closed; build a new one")
        # The process is looked at before any lock is: a lock may have been held when the process forked.
        pid = os.getpid()
        here = self._by_process.get(pid)
        if here is None:
            here = self._by_process.setdefault(pid, _Process())
        if here.thread is None:
            with here.lock:
                if here.thread is None:
                    here.thread = _Thread()
        return here.thread.loop
