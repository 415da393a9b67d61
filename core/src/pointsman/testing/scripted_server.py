"""A real HTTP server on loopback that answers from a script and remembers what it was asked."""

import asyncio
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self, TypeAlias

from attrs import frozen

from .received import ReceivedRequest, read_request
from .replies import SSE, Answer, Drop, Hang, RawBytes, Reply

Script: TypeAlias = Answer | Sequence[Answer] | Callable[[ReceivedRequest], Answer]
"""One answer for every request, answers to be used in turn, or a function that chooses."""

STOP_LIMIT = 10.0
"""Seconds after which a server that does not stop is an error."""


class ScriptError(Exception):
    """The script had no answer for a request, or raised."""


class ScriptedServer:
    """Answers from a script on a free port of 127.0.0.1, in a thread of its own.

    with ScriptedServer([Reply(500), Reply(200, {"choices": []})]) as server:
        call(server.url)
    assert server.models == ["z-ai/glm-4.5-air:free", "openai/gpt-oss-20b:free"]

    A request that the script has no answer for gets a 500, and leaving the `with` block raises
    `ScriptError`.
    """

    def __init__(self, script: Script = (), *, ssl_context: ssl.SSLContext | None = None) -> None:
        self._ssl_context = ssl_context
        self._changed = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._thread: threading.Thread | None = None
        self._connection_count = 0
        self._connections: set[asyncio.Task[None]] = set()
        self.port = 0
        self.play(script)

    def play(self, script: Script) -> None:
        """Start over with a new script and nothing received."""
        with self._changed:
            self._script = script
            self._position = 0
            self._requests: list[ReceivedRequest] = []
            self._abandoned: list[ReceivedRequest] = []
            self._error: ScriptError | None = None

    @property
    def url(self) -> str:
        """Scheme, host and port, without a slash at the end."""
        return f"{'https' if self._ssl_context else 'http'}://127.0.0.1:{self.port}"

    @property
    def requests(self) -> list[ReceivedRequest]:
        """Every request received, in order."""
        with self._changed:
            return list(self._requests)

    @property
    def models(self) -> list[str | None]:
        """The models that were asked for, in order."""
        return [request.model for request in self.requests]

    @property
    def abandoned(self) -> list[ReceivedRequest]:
        """The requests whose client hung up before its answer was complete."""
        with self._changed:
            return list(self._abandoned)

    @property
    def connected(self) -> int:
        """How many clients are connected now."""
        return len(self._connections)

    def wait_for(self, condition: Callable[[], bool], timeout: float = 5.0) -> bool:
        """Wait until something received or abandoned, or a client that left, makes the condition true.

        False if nothing ever does.
        """
        with self._changed:
            return self._changed.wait_for(condition, timeout)

    def check(self) -> None:
        """Raise what went wrong in the script, if anything did."""
        if self._error is not None:
            raise self._error

    def start(self) -> None:
        """Listen. Returns when the port is open."""
        started = threading.Event()
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = listener.getsockname()[1]
        self._thread = threading.Thread(
            target=self._run, args=(listener, started), name=f"scripted-server-{self.port}", daemon=True
        )
        self._thread.start()
        started.wait()

    def stop(self) -> None:
        """Hang up on everybody and close the port. A second call does nothing."""
        if self._thread is None or self._loop is None:
            return
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(STOP_LIMIT)
        if self._thread.is_alive():
            raise RuntimeError(f"the scripted server on port {self.port} did not stop in {STOP_LIMIT:.0f} s")
        self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()
        if error is None:
            self.check()

    def _run(self, listener: socket.socket, started: threading.Event) -> None:
        # The selector loop, because the default one on Windows cannot watch the listener.
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(self._serve(listener, started))

    async def _serve(self, listener: socket.socket, started: threading.Event) -> None:
        # Not asyncio's own server: it loses a connection that arrives while it closes.
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        listener.setblocking(False)
        self._loop.add_reader(listener, self._accept, listener)
        started.set()
        await self._stopping.wait()
        self._loop.remove_reader(listener)
        listener.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except OSError:
            return  # gone before it was greeted
        client.setblocking(False)
        self._connection_count += 1
        connection = asyncio.create_task(self._greet(client, self._connection_count))
        self._connections.add(connection)
        connection.add_done_callback(lambda _: client.close())
        connection.add_done_callback(self._left)

    def _left(self, connection: asyncio.Task[None]) -> None:
        with self._changed:
            self._connections.discard(connection)
            self._changed.notify_all()

    async def _greet(self, client: socket.socket, number: int) -> None:
        """Shake hands and answer, whatever state the client leaves the connection in."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, client, ssl=self._ssl_context)
        except OSError:
            return  # it does not like our certificate, or is gone
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        try:
            await self._talk(reader, writer, number)
            writer.close()
            await writer.wait_closed()
        except OSError:
            """A client that resets the connection is the script's business."""
        finally:
            # A client that reads nothing more would keep `close` waiting for ever.
            transport.abort()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        """Answer one connection's requests until either side hangs up."""
        request = await read_request(reader, number)
        while request:
            # Reading on while answering is how a client that hangs up in the middle is noticed.
            answering = asyncio.create_task(self._answer(request, StreamConnection(writer)))
            following = asyncio.create_task(read_request(reader, number))
            try:
                request = await self._next(request, answering, following)
            finally:
                answering.cancel()
                following.cancel()
                await asyncio.gather(answering, following, return_exceptions=True)

    async def _next(
        self,
        request: ReceivedRequest,
        answering: asyncio.Task[bool],
        following: asyncio.Task[ReceivedRequest | None],
    ) -> ReceivedRequest | None:
        """The connection's next request once this one is answered; None when there cannot be one."""
        await asyncio.wait((answering, following), return_when=asyncio.FIRST_COMPLETED)
        if not answering.done() and following.result() is None:
            self._note(self._abandoned, request)
            return None
        try:
            reusable = await answering
        except OSError:
            self._note(self._abandoned, request)
            return None
        return await following if reusable and request.headers.get("connection") != "close" else None

    async def _answer(self, request: ReceivedRequest, connection: "StreamConnection") -> bool:
        self._note(self._requests, request)
        return await self._choose(request).send_to(connection)

    def _note(self, received: list[ReceivedRequest], request: ReceivedRequest) -> None:
        with self._changed:
            received.append(request)
            self._changed.notify_all()

    def _choose(self, request: ReceivedRequest) -> Answer:
        try:
            script = self._script
            if isinstance(script, Reply | SSE | RawBytes | Hang | Drop):
                return script
            if callable(script):
                return script(request)
            self._position += 1
            return script[self._position - 1]
        except Exception as cause:  # noqa: BLE001  (whatever a script raises must reach the test that wrote it)
            self._error = ScriptError(f"no answer for request {len(self._requests)}, {request!r}: {cause!r}")
            self._error.__cause__ = cause
            return Reply(500, {"error": {"message": str(self._error), "code": 500}})


@frozen
class StreamConnection:
    """A reply's view of an asyncio stream."""

    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """Write the bytes and wait until the transport has taken them."""
        self.writer.write(data)
        await self.writer.drain()

    def drop(self, *, reset: bool) -> None:
        """Hang up."""
        if reset:
            # A linger time of 0 is what turns the close into an RST.
            plain: socket.socket = self.writer.get_extra_info("socket")
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()
        else:
            self.writer.close()
