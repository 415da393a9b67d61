"""Backends opened once in each event loop, and closed when that loop ends or the router closes.

Connections belong to a (process, loop). Each loop gets its own; an asynchronous generator that the
loop itself finalises closes them, so `asyncio.run` five times in a row leaks nothing.
"""

import asyncio
import logging
import os
from collections.abc import AsyncGenerator
from weakref import WeakKeyDictionary

from .asking import raised
from .hooks import Backend

logger = logging.getLogger(__name__)


class OpenBackends:
    """The backends that are open in one loop of one process."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._opened: dict[Backend, asyncio.Future[None]] = {}
        self._guard: AsyncGenerator[None, None] | None = None

    async def open(self, backend: Backend) -> None:
        """Returns when the backend is open here; the first caller opens it, the others wait for that."""
        if backend.start is None:
            return
        opening = self._opened.get(backend)
        if opening is None:
            if self._guard is None:
                self._guard = self._until_loop_ends()
                await anext(self._guard)
            opening = self._opened[backend] = asyncio.ensure_future(backend.start(backend.name))
        if opening.done() and not opening.cancelled() and opening.exception() is None:
            return
        try:
            # Shielded: a request that is cancelled does not take the backend away from the others.
            await asyncio.shield(opening)
        except BaseException:
            if opening.done() and self._opened.get(backend) is opening:
                del self._opened[backend]  # the next attempt opens it anew
            raise

    async def close(self) -> None:
        """Closes everything that is open here."""
        guard, self._guard = self._guard, None
        if guard is not None:
            await guard.aclose()

    async def _until_loop_ends(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self._guard = None
            await self._close_all()

    async def _close_all(self) -> None:
        opened, self._opened = self._opened, {}
        for backend, opening in opened.items():
            opening.cancel()
            if backend.close is None:
                continue
            try:
                await backend.close()
            except Exception as error:  # noqa: BLE001 - whatever a plugin raises
                logger.error("plugin %s: close_backend %s", backend.name, raised(error))  # noqa: TRY400 - a traceback quotes


class Loops:
    """The open backends of every loop that a router has been used in."""

    def __init__(self) -> None:
        self._by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, OpenBackends] = WeakKeyDictionary()

    def here(self) -> OpenBackends:
        """Those of the running loop. A forked child begins with none: its parent's are not its own."""
        loop = asyncio.get_running_loop()
        found = self._by_loop.get(loop)
        if found is None or found.pid != os.getpid():
            found = self._by_loop[loop] = OpenBackends()
        return found

    async def close_here(self) -> None:
        """Closes those of the running loop."""
        await self.here().close()

    def close_elsewhere(self, timeout: float) -> None:
        """Closes those of other loops that still run in this process, waiting up to `timeout` seconds for each."""
        current = running_loop()
        for loop, backends in list(self._by_loop.items()):
            if loop is current or backends.pid != os.getpid() or not loop.is_running():
                continue
            closing = asyncio.run_coroutine_threadsafe(backends.close(), loop)
            try:
                closing.result(timeout)
            except TimeoutError:
                logger.warning("an event loop did not close its backends within %.3g s", timeout)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that runs in this thread, or None."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
