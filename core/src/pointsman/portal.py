"""The synchronous face's way in: one event loop in one daemon thread, started by the first call."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any, Generic, TypeVar

from .errors import RouterClosed
from .per_process import PerProcess

T = TypeVar("T")

INTERRUPT_GRACE = 1.0
"""Seconds that an interrupted call waits for its request to be released and recorded."""


class _Thread:
    """A thread that runs a loop until it is told to stop; what the loop still holds is then released."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._error: BaseException | None = None
        self.loop: asyncio.AbstractEventLoop
        self.waited_for: set[_Request[Any]] = set()
        self._stop: asyncio.Event
        self.thread = threading.Thread(target=self._main, name="pointsman-loop", daemon=True)
        self.thread.start()
        self._ready.wait()
        if self._error is not None:
            raise self._error

    def _main(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if self._ready.is_set():
                raise
            self._error = error  # there is no loop to be had, for want of file descriptors perhaps
            self._ready.set()
        finally:
            for request in tuple(self.waited_for):
                request.end()

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._ready.set()
        await self._stop.wait()

    def stop(self) -> None:
        with suppress(RuntimeError):  # it has ended by itself
            self.loop.call_soon_threadsafe(self._stop.set)

    def join(self, timeout: float) -> None:
        if self.thread is not threading.current_thread():
            self.thread.join(timeout)


class _Process:
    """What one process has of a portal."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.thread: _Thread | None = None


class _Request(Generic[T]):
    """A coroutine that another thread waits for. It can be cancelled from the moment on that it is begun.

    It says itself what came of it, and a lock is all that is waited for: `asyncio.run_coroutine_threadsafe` takes two
    more turns of the loop, and two futures.
    """

    def __init__(self, make: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._make = make
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._waited_for: set[_Request[Any]] = set()
        self._cancelled = self._has_run = False
        self._result: list[T] = []
        self._error: BaseException | None = None
        self._is_over = False
        self._over = threading.Lock()
        self._over.acquire()

    def begin(self, loop: asyncio.AbstractEventLoop, waited_for: "set[_Request[Any]]") -> None:
        """Hands it to the loop. It is one of those that are waited for until it is over."""
        self._loop, self._waited_for = loop, waited_for
        waited_for.add(self)
        loop.call_soon_threadsafe(self._start, loop)

    def result(self) -> T:
        """Waits for it. Raises what it raised; `CancelledError` where it was cancelled. Once."""
        self._over.acquire()
        if self._result:
            return self._result[0]
        error, self._error = self._error, None
        try:
            raise error or CancelledError
        finally:
            del error  # it holds this frame

    def cancel(self, timeout: float) -> None:
        """Cancels it where it was begun and has not ended, and waits until it has, up to `timeout` seconds."""
        # Ctrl-C may come when it has just been begun, and nothing of it has got here yet.
        if self._loop is None or self._is_over:
            return
        self._cancelled = True
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._cancel_here)
            self._over.acquire(timeout=timeout)

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._cancelled:
            self.end()
            return
        self._task = loop.create_task(self._run())

    def _cancel_here(self) -> None:
        if self._task is not None:
            self._task.cancel()
            if not self._has_run:
                self.end()  # it never will

    async def _run(self) -> None:
        try:
            self._result.append(await self._made())
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._error = error
            if not isinstance(error, Exception):
                raise
        finally:
            self.end()

    def _made(self) -> Coroutine[Any, Any, T]:
        # Let go of before the end is known: it may hold the router, which whoever waits for that may drop.
        make = self._make
        del self._make
        self._has_run = True
        return make()

    def end(self) -> None:
        """Nobody has to wait for it any more."""
        if not self._is_over:
            self._is_over = True
            self._waited_for.discard(self)
            self._over.release()


class Portal:
    """Runs coroutines for callers that have no loop. A forked child starts a thread of its own."""

    def __init__(self) -> None:
        self._by_process = PerProcess(_Process)
        self._closed = False

    def run(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The coroutine's result. An exception here, such as Ctrl-C, cancels it."""
        request = _Request(make)
        try:
            self._begin(request)
            return request.result()
        except CancelledError:
            if self._closed:
                raise RouterClosed("the router was closed while this request was in flight") from None
            raise
        except BaseException:
            request.cancel(INTERRUPT_GRACE)
            raise

    def _begin(self, request: _Request[T]) -> None:
        here = self._by_process.here()
        with here.lock:
            # Under the lock, so that nothing comes into the loop after its end was asked for.
            if self._closed:
                raise RouterClosed("the router is closed; build a new one")
            if here.thread is None:
                here.thread = _Thread()
            request.begin(here.thread.loop, here.thread.waited_for)

    def close(self, timeout: float) -> None:
        """Stops the thread; requests in flight are cancelled."""
        here = self._by_process.here()
        with here.lock:
            self._closed = True
            thread = here.thread
            if thread is not None:
                thread.stop()
        if thread is not None:
            thread.join(timeout)
