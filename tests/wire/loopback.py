"""A real HTTP server on the loopback interface, and one call through a real backend."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from attrs import define, field

from pointsman.chat import Completion, Message, Request
from pointsman.context import AttemptContext
from pointsman.errors import AttemptFailed, Failure
from pointsman.targets import Target
from pointsman_openai_compatible import OpenAICompatible

Headers = Sequence[tuple[str, str]]
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

CHAT: tuple[Message, ...] = ({"role": "user", "content": "hi"},)
JSON_TYPE: Headers = (("content-type", "application/json"),)


@define
class Received:
    """One request as the server saw it."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        return json.loads(self.body)


@define(eq=False)
class Server:
    """A server that gives one answer to everything, and remembers what it was asked."""

    status: int = 200
    headers: Headers = JSON_TYPE
    body: bytes = b""
    received: list[Received] = field(factory=list)
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while (request := await read_request(reader)) is not None:
            self.received.append(request)
            lines = [f"HTTP/1.1 {self.status} Reason", f"content-length: {len(self.body)}"]
            lines += [f"{name}: {value}" for name, value in self.headers]
            writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + self.body)
            await writer.drain()


async def read_request(reader: asyncio.StreamReader) -> Received | None:
    """The next request on a connection, or None at its end."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(head[0].split(" ")[1], headers, body)


@asynccontextmanager
async def serving(handler: Handler, **options: object) -> AsyncIterator[str]:
    """`handler` behind a port of its own; gives the address."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, **options)  # pyright: ignore[reportArgumentType] - passed on
    scheme = "https" if options.get("ssl") else "http"
    host = "localhost" if options.get("ssl") else "127.0.0.1"
    try:
        yield f"{scheme}://{host}:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await asyncio.sleep(0)


@asynccontextmanager
async def started(backend: OpenAICompatible) -> AsyncIterator[OpenAICompatible]:
    """The backend, started in this loop and closed at the end."""
    await backend.start_backend("backend")
    try:
        yield backend
    finally:
        await backend.close_backend()


def a_request(messages: tuple[Message, ...] = CHAT, **more: object) -> Request:
    return Request(messages=messages, task="chat", **more)  # pyright: ignore[reportArgumentType] - passed on


def a_target(name: str = "vendor/model") -> Target:
    return Target(model="model", backend="backend", name=name)


async def call(
    backend: OpenAICompatible, request: Request | None = None, *, model: str = "vendor/model"
) -> Completion | Failure:
    """What one attempt comes to."""
    ctx = AttemptContext(request_id="r", number=1, time_limit=30.0)
    try:
        return await backend.complete(a_target(model), request or a_request(), ctx)
    except AttemptFailed as failed:
        return failed.failure


def answer_to(
    make: Callable[[str], OpenAICompatible],
    server: Server,
    request: Request | None = None,
    *,
    model: str = "vendor/model",
) -> Completion | Failure:
    """What the backend makes of the server's answer."""

    async def run() -> Completion | Failure:
        async with serving(server.serve) as address, started(make(address)) as backend:
            return await call(backend, request, model=model)

    return asyncio.run(run())
