"""The bounded buffer between a streamed request and whoever reads it: in the same loop, or from another thread.

The request writes as long as there is room; a reader that does not keep up holds it back, and through it the server.
"""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections import deque
from contextlib import suppress

from .chat import Chunk, Completion
from .decision import Decision
from .errors import UsageError
from .per_process import process_id

READ_AHEAD = 64
"""Chunks that are read before anyone asks for them."""


class Flow(ABC):
    """What the writer sees."""

    def __init__(self) -> None:
        self.chunks: deque[Chunk] = deque()
        self.held_back = False
        """Whether the writer waits for the reader."""
        self.abandoned = False
        """Set by a reader that leaves early, before it cancels the request."""
        self.begun: Decision | None = None
        """The record of the request as it stood when the answer began."""
        self.decision: Decision | None = None
        """The record of the request, once it has ended."""
        self.task: asyncio.Task[Completion] | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self._process: int | None = None
        self._room = asyncio.Event()

    def written_by(self, task: "asyncio.Task[Completion]") -> None:
        """Names the request that writes; called in its loop."""
        self.loop = asyncio.get_running_loop()
        self.task = task
        self._process = process_id()
        task.add_done_callback(self._on_end)

    def drop(self) -> None:
        """Nobody reads on: the request ends, unless its loop has. May be called from any thread."""
        self.abandoned = True
        if self.task is not None and self.loop is not None and not self.task.done() and self._process == process_id():
            with suppress(RuntimeError):  # the loop is closed
                self.loop.call_soon_threadsafe(self.task.cancel)

    def _on_end(self, task: "asyncio.Task[Completion]") -> None:
        if not task.cancelled():
            task.exception()  # a reader that has left is not told, and asyncio is not to complain about that
        self.wake_reader()

    def write(self, chunk: Chunk) -> bool:
        """Hands a chunk over. False: wait for `room` before the next one."""
        self.chunks.append(chunk)
        waiting = len(self.chunks)
        if waiting <= 1:  # a reader waits only where there was none
            self.wake_reader()
        return waiting < READ_AHEAD

    async def room(self) -> None:
        """Returns when the reader has caught up by half."""
        self._room.clear()
        # Set before the look at what is left: a reader in another thread may take everything in between.
        self.held_back = True
        try:
            if len(self.chunks) >= READ_AHEAD:
                await self._room.wait()
        finally:
            self.held_back = False

    @abstractmethod
    def wake_reader(self) -> None:
        """Lets the reader look again: a chunk came, or the request ended."""


class LoopFlow(Flow):
    """For a reader in the same event loop."""

    def __init__(self) -> None:
        super().__init__()
        self._reader: asyncio.Future[None] | None = None

    def wake_reader(self) -> None:
        """Wakes a reader that waits."""
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def take(self) -> Chunk | None:
        """The next chunk, or None where there is none yet."""
        if not self.chunks:
            return None
        chunk = self.chunks.popleft()
        if self.held_back and len(self.chunks) <= READ_AHEAD // 2:
            self._room.set()
        return chunk

    def check_here(self) -> asyncio.AbstractEventLoop:
        """The request's event loop. Raises `UsageError` in another: neither could wake the other."""
        loop = asyncio.get_running_loop()
        if loop is not self.loop:
            raise UsageError("this stream was begun in another event loop; read and close it there")
        return loop

    async def wait(self) -> None:
        """Returns when it is worth looking again."""
        loop = self.check_here()
        if self._reader is not None:
            raise UsageError("another task waits for this stream's next chunk; read it in one task")
        self._reader = loop.create_future()
        try:
            await self._reader
        finally:
            self._reader = None


class ThreadFlow(Flow):
    """For a reader in another thread than the event loop's."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()

    def wake_reader(self) -> None:
        """Wakes a reader that waits."""
        with self._changed:
            self._changed.notify_all()

    def take(self) -> Chunk | None:
        """The next chunk; waits for it. None when the request has ended and everything was taken."""
        while (chunk := self._pop()) is None:
            # Before the lock, which may have been held when the process forked.
            if process_id() != self._process:
                raise UsageError("this stream was begun in another process; read it there")
            with self._changed:
                self._changed.wait_for(lambda: self.chunks or self._ended)
            if self._ended and not self.chunks:
                return None
        if self.held_back and len(self.chunks) <= READ_AHEAD // 2 and self.loop is not None:
            self.loop.call_soon_threadsafe(self._room.set)
        return chunk

    def _pop(self) -> Chunk | None:
        try:
            return self.chunks.popleft()
        except IndexError:  # not looked at before: another thread may take the last one in between
            return None

    def cancel(self, timeout: float) -> None:
        """Cancels the request, and waits up to `timeout` seconds until it has released everything."""
        if self.task is None or self.loop is None or self.loop.is_closed():
            return
        if self._ended or process_id() != self._process:
            return
        self.loop.call_soon_threadsafe(self.task.cancel)
        with self._changed:
            self._changed.wait_for(lambda: self._ended, timeout)

    @property
    def _ended(self) -> bool:
        return self.task is not None and self.task.done()
