"""Backends opened once in each event loop, and closed when that loop ends or the router closes.

Connections belong to a (process, loop). Each loop gets its own; an asynchronous generator that the
loop itself finalises closes them, so `asyncio.run` five times in a row leaks nothing.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import suppress
from random import Random
from time import monotonic
from typing import Any
from weakref import WeakKeyDictionary, ref

from .asking import is_ctrl_c, raised
from .errors import AttemptFailed, Failure, RouterClosed
from .hooks import Backend
from .in_flight import InFlight
from .per_process import process_id

logger = logging.getLogger(__name__)

CLOSE_TIMEOUT = 5.0
"""Seconds, by default, for everything that closing waits for."""

LOOPS_SHARE = 0.9
"""Of the time that another loop is waited for, what it gets itself: so it can still say what was late."""


class OpenBackends:
    """The backends that are open in one loop of one process."""

    def __init__(self) -> None:
        self.pid = process_id()
        self.ready: set[Backend] = set()
        """Those that need no opening any more."""
        self.requests = InFlight()
        self.left: set[asyncio.Task[Any]] = set()
        """Attempts that were left to themselves."""
        self.chance = Random()
        """Draws the ids and the seeds of requests here. Nobody has seeded it."""
        self.closed = False
        """Whether closing has begun here: once is enough."""
        self._opened: dict[Backend, asyncio.Future[None]] = {}
        self._leaving: dict[asyncio.Task[None], tuple[Backend, asyncio.Future[None]]] = {}
        """What closes those that no configuration has any more, until it has."""
        self._guard: AsyncGenerator[None, None] | None = None
        self._patience = CLOSE_TIMEOUT

    async def open(self, backend: Backend) -> None:
        """Returns when the backend is open here; the first caller opens it, the others wait for that.

        Raises `AttemptFailed` where it cannot be opened.
        """
        opening = self._opened.get(backend)
        if opening is None or (opening.done() and _failed(opening)):
            if backend.start is None and backend.close is None:
                self.ready.add(backend)
                return
            if self._guard is None:
                self._guard = self._until_loop_ends()
                await anext(self._guard)
            opening = self._opened[backend] = asyncio.ensure_future(_start(backend))
        if not opening.done():
            # Waited for, not awaited: a request that is cancelled does not take the backend away from the others.
            await asyncio.wait((opening,))
        if opening.cancelled():
            raise AttemptFailed(Failure.of_plugin(backend.name, "start_backend", "cancelled itself"))
        opening.result()
        if self._opened.get(backend) is opening:  # not closed meanwhile
            self.ready.add(backend)

    async def close(self, timeout: float) -> None:  # noqa: ASYNC109 - what is late is left, not cancelled and awaited
        """Ends the requests that run here, then closes everything that is open."""
        self.closed = True
        began = monotonic()
        await self.requests.end(timeout)
        self._patience = max(began + timeout - monotonic(), 0)
        guard, self._guard = self._guard, None
        if guard is not None:
            await guard.aclose()

    def let_go(self, backends: Iterable[Backend]) -> None:
        """Has those of these backends closed that are open here. Whoever still wants one opens it again."""
        for backend in backends:
            self.ready.discard(backend)
            opening = self._opened.pop(backend, None)
            if opening is not None:
                closing = asyncio.ensure_future(_close(backend, opening))
                self._leaving[closing] = (backend, opening)
                closing.add_done_callback(self._left)

    def _left(self, closing: "asyncio.Task[None]") -> None:
        # One that was cancelled, as those are whose loop ends, is closed with the others.
        if not closing.cancelled():
            self._leaving.pop(closing, None)

    async def _until_loop_ends(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self._guard = None
            await self._close_all()

    async def _close_all(self) -> None:
        closing = {task: backend for task, (backend, _) in self._leaving.items() if not task.done()}
        opened = [*self._opened.items(), *(those for task, those in self._leaving.items() if task.done())]
        self._leaving, self._opened = {}, {}
        self.ready.clear()
        closing |= {asyncio.ensure_future(_close(backend, opening)): backend for backend, opening in opened}
        if closing:
            _, late = await asyncio.wait(closing, timeout=self._patience)
            for one in late:
                one.cancel()
                logger.warning("plugin %s: close_backend did not end within %.3g s", closing[one].name, self._patience)


async def _start(backend: Backend) -> None:
    """Starts a backend. Whatever its plugin raises, sys.exit included, is a failure of the attempt that wants it."""
    try:
        if backend.start is not None:
            await backend.start(backend.name)
    except BaseException as error:
        if isinstance(error, (AttemptFailed, asyncio.CancelledError, GeneratorExit)) or is_ctrl_c(error):
            raise
        raise AttemptFailed(Failure.of_plugin(backend.name, "start_backend", raised(error))) from None


def _failed(opening: asyncio.Future[None]) -> bool:
    return opening.cancelled() or opening.exception() is not None


async def _close(backend: Backend, opening: asyncio.Future[None]) -> None:
    """Closes a backend that had started; one that is still starting is cancelled."""
    opening.cancel()
    await asyncio.wait((opening,))
    if _failed(opening) or backend.close is None:
        return
    try:
        await backend.close()
    except BaseException as error:  # whatever a plugin raises, sys.exit included
        if isinstance(error, (asyncio.CancelledError, GeneratorExit)) or is_ctrl_c(error):
            raise
        logger.error("plugin %s: close_backend %s", backend.name, raised(error))  # noqa: TRY400 - a traceback quotes


def _no_loop() -> None:
    return None


class Loops:
    """The open backends of every loop that a router has been used in."""

    def __init__(self) -> None:
        self._by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, OpenBackends] = WeakKeyDictionary()
        self._latest: tuple[Callable[[], object], OpenBackends] = _no_loop, OpenBackends()
        """Those that were asked for last: nearly always the same."""
        self._closed = False

    def check_open(self) -> None:
        """Raises `RouterClosed` after the close: nothing would close what were opened now."""
        if self._closed:
            raise RouterClosed("the router was closed while this request was in flight")

    def here(self, loop: asyncio.AbstractEventLoop | None = None) -> OpenBackends:
        """Those of the running loop, which may be given. A forked child begins with none of its parent's."""
        loop = loop or asyncio.get_running_loop()
        latest, found = self._latest
        if latest() is not loop or found.pid != process_id():
            found = self._by_loop.get(loop)
            if found is None or found.pid != process_id():
                found = self._by_loop[loop] = OpenBackends()
            self._latest = ref(loop), found
        return found

    def let_go(self, backends: Iterable[Backend]) -> None:
        """Has these backends closed in every loop of this process where they are open; waits for none of them."""
        for loop, open_here in self._running():
            with suppress(RuntimeError):  # the loop has ended meanwhile, and has closed everything
                loop.call_soon_threadsafe(open_here.let_go, backends)

    async def close_here(self, timeout: float) -> None:  # noqa: ASYNC109 - as above
        """Closes those of the running loop."""
        self._closed = True
        await self.here().close(timeout)

    def close_elsewhere(self, timeout: float) -> None:
        """Closes those of other loops that still run in this process, within `timeout` seconds for all of them."""
        self._closed = True
        deadline = monotonic() + timeout
        current = running_loop()
        closing = [
            asyncio.run_coroutine_threadsafe(backends.close(timeout * LOOPS_SHARE), loop)
            for loop, backends in self._running()
            if loop is not current and loop.is_running() and not backends.closed
        ]
        for one in closing:
            try:
                one.result(max(deadline - monotonic(), 0))
            except TimeoutError:
                logger.warning("an event loop did not close its backends within %.3g s", timeout)

    def _running(self) -> Iterator[tuple[asyncio.AbstractEventLoop, OpenBackends]]:
        pid = process_id()
        for reference in self._by_loop.keyrefs():  # a list, so that other threads may begin loops meanwhile
            loop = reference()
            backends = self._by_loop.get(loop) if loop is not None else None
            if loop is not None and backends is not None and backends.pid == pid:
                yield loop, backends


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that runs in this thread, or None."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
