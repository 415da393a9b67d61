"""What callers read a streamed answer from: `Stream` in a program without an event loop, `AsyncStream` in one with.

Both are iterators and context managers. Leaving one early, cancelling it or dropping it closes the upstream
connection; whatever the ending, the request is recorded once.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Generic, Self, TypeAlias, TypeVar

from .chat import Chunk, Completion
from .decision import Decision
from .errors import RouterClosed, UsageError
from .flow import Flow, LoopFlow, ThreadFlow
from .loops import running_loop
from .per_process import PerProcess
from .portal import INTERRUPT_GRACE, Portal

Open: TypeAlias = Callable[[Flow], Coroutine[Any, Any, Completion]]
"""Starts the request that writes to a flow."""

AnyFlow = TypeVar("AnyFlow", bound=Flow)


class _Reading(Generic[AnyFlow]):
    """How far a reader has come."""

    def __init__(self, open_request: Open, flow: AnyFlow) -> None:
        self._open = open_request
        self._flow = flow
        self._at_end = False
        self._closed = False

    @property
    def completion(self) -> Completion:
        """The whole answer with its decision, once the stream was read to its end. Raises `UsageError` before."""
        if self._at_end:
            return self._result()
        if self._closed:
            raise UsageError("this stream was closed before its end, so there is no whole answer")
        raise UsageError("the stream has not ended: read it to its end first, or call collect()")

    @property
    def decision(self) -> Decision | None:
        """The record of the request, once it has ended, however it did, which may be before its last chunk is read.

        From the first content until then, the record as it stood when the answer began, with who `served` it.
        """
        return self._flow.decision or self._flow.begun

    def _result(self) -> Completion:
        """What the request came to, at its end: the whole answer, or what it raised."""
        task = self._flow.task
        if self._closed or task is None:
            raise UsageError("this stream was closed before its end")
        self._at_end = True
        try:
            return task.result()
        except asyncio.CancelledError:
            raise RouterClosed("the router, or its event loop, was closed while this stream was read") from None

    def _leave(self) -> None:
        """The reader takes nothing more."""
        self._closed = not self._at_end
        self._flow.chunks.clear()

    def __del__(self) -> None:
        self._flow.drop()


class AsyncStream(_Reading[LoopFlow]):
    """A streamed answer: `async for chunk in stream`. The request is made when the first chunk is asked for."""

    def __init__(self, open_request: Open) -> None:
        super().__init__(open_request, LoopFlow())

    async def collect(self) -> Completion:
        """Reads to the end. The same `Completion` that `acomplete` gives."""
        async for _ in self:
            pass
        return self.completion

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        """The next chunk. Raises what `acomplete` raises, and `StreamInterrupted` after the first content.

        Raises `UsageError` while another task waits for a chunk of this stream.
        """
        flow = self._flow
        while self._closed or (chunk := flow.take()) is None:
            if flow.task is None and not self._closed:
                flow.written_by(asyncio.get_running_loop().create_task(self._open(flow)))
            elif flow.task is None or flow.task.done():
                self._result()
                raise StopAsyncIteration
            try:
                await flow.wait()
            except asyncio.CancelledError:
                await self._stop()
                raise
        return chunk

    async def aclose(self) -> None:
        """Ends the request where it still runs, and closes the upstream connection."""
        task = self._flow.task
        if task is not None and not task.done():
            self._flow.check_here()
        self._flow.abandoned = True
        await self._stop()

    async def _stop(self) -> None:
        self._leave()
        task = self._flow.task
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait((task,))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class Stream(_Reading[ThreadFlow]):
    """A streamed answer: `for chunk in stream`. The request is made when the first chunk is asked for."""

    def __init__(self, open_request: Open, portal: Portal) -> None:
        super().__init__(open_request, ThreadFlow())
        self._portal = portal
        self._beginning = PerProcess(threading.RLock)
        """Held while it is begun, or closed. A signal handler may close it meanwhile."""

    def collect(self) -> Completion:
        """Reads to the end. The same `Completion` that `complete` gives."""
        for _ in self:
            pass
        return self.completion

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Chunk:
        """The next chunk. Raises what `complete` raises, and `StreamInterrupted` after the first content."""
        flow = self._flow
        try:
            if flow.task is None:
                self._start()
            chunk = None if self._closed else flow.take()
        except BaseException:  # Ctrl-C while waiting
            self._leave()
            flow.cancel(INTERRUPT_GRACE)
            raise
        if chunk is None:
            self._result()
            raise StopIteration
        return chunk

    def close(self) -> None:
        """Ends the request where it still runs, and closes the upstream connection."""
        with self._beginning.here():
            self._flow.abandoned = True
            self._leave()
        self._flow.cancel(INTERRUPT_GRACE)

    def _start(self) -> None:
        """Makes the request, unless another thread has, or has closed the stream."""
        if running_loop() is not None:
            raise UsageError("this stream blocks, and was read in a running event loop; use `router.astream` there")
        flow, open_request = self._flow, self._open

        async def start() -> None:
            flow.written_by(asyncio.get_running_loop().create_task(open_request(flow)))

        with self._beginning.here():
            if flow.task is None and not self._closed:
                self._portal.run(start)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
