"""What a scripted server can send back, faults included, as values.

A reply knows how it goes over the wire; `Connection` is the little that it needs to do so.
"""

import asyncio
import json as jsonlib
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Protocol, TypeAlias

from attrs import frozen


class Connection(Protocol):
    """One client's connection, as a reply sees it."""

    async def send(self, data: bytes) -> None:
        """Write the bytes and wait until the transport has taken them."""
        ...

    def drop(self, *, reset: bool) -> None:
        """Hang up: with FIN, or with RST, which loses what is still on its way."""
        ...


@frozen
class Drop:
    """Hang up. Alone it is sent in place of an answer; as `then=` it follows what was sent."""

    reset: bool = False
    """RST in place of FIN."""
    delay: float = 0.0
    """Seconds to wait first."""

    async def send_to(self, connection: Connection) -> bool:
        """Hang up; the connection is spent."""
        await asyncio.sleep(self.delay)
        connection.drop(reset=self.reset)
        return False


@frozen
class Hang:
    """Say nothing (more) until the client hangs up or the server stops."""

    async def send_to(self, connection: Connection) -> bool:
        """Wait for ever; the server ends the wait."""
        del connection
        await asyncio.Event().wait()
        return False


@frozen
class Reply:
    """A whole HTTP answer. The body is `json` unless `body` is given."""

    status: int = 200
    json: Any = None
    body: bytes | None = None
    headers: Mapping[str, str] = {}
    delay: float = 0.0
    """Seconds between the request and the first byte."""

    async def send_to(self, connection: Connection) -> bool:
        """Send the answer; True when the connection can carry another request."""
        await asyncio.sleep(self.delay)
        body = jsonlib.dumps(self.json, ensure_ascii=False).encode() if self.body is None else self.body
        headers = {"content-type": "application/json", "content-length": str(len(body))} | lowered(self.headers)
        await connection.send(head(self.status, headers) + body)
        return headers.get("connection") != "close"


@frozen
class SSE:
    """A chunked stream of server-sent events.

    An event is anything that JSON can say, or bytes that are sent as they are (a comment, garbage,
    half a line). Each item leaves in a chunk of its own.
    """

    events: Sequence[Any]
    delay: float = 0.0
    """Seconds before each event."""
    done: bool = True
    """Whether `data: [DONE]` follows the last event."""
    then: Drop | Hang | None = None
    """What happens in place of the stream's proper end."""
    headers: Mapping[str, str] = {}

    async def send_to(self, connection: Connection) -> bool:
        """Send the stream; True when the connection can carry another request."""
        headers = {"content-type": "text/event-stream", "transfer-encoding": "chunked"} | lowered(self.headers)
        await connection.send(head(200, headers))
        for event in self.events:
            await asyncio.sleep(self.delay)
            await connection.send(chunk(sse_event(event)))
        if self.done:
            await connection.send(chunk(b"data: [DONE]\n\n"))
        if self.then is not None:
            return await self.then.send_to(connection)
        await connection.send(chunk(b""))
        return headers.get("connection") != "close"


@frozen
class RawBytes:
    """Exactly these bytes, status line and all, piece by piece."""

    pieces: bytes | Sequence[bytes]
    delay: float = 0.0
    """Seconds before each piece."""
    then: Drop | Hang = Drop()

    async def send_to(self, connection: Connection) -> bool:
        """Send the bytes; the connection is spent."""
        for piece in [self.pieces] if isinstance(self.pieces, bytes) else self.pieces:
            await asyncio.sleep(self.delay)
            await connection.send(piece)
        return await self.then.send_to(connection)


Answer: TypeAlias = Reply | SSE | RawBytes | Hang | Drop


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """The status line and headers of an answer."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    lines = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body; an empty one ends it."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def sse_event(event: Any) -> bytes:
    """A server-sent event as it goes over the wire."""
    return event if isinstance(event, bytes) else b"data: %b\n\n" % jsonlib.dumps(event, ensure_ascii=False).encode()


def lowered(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers by lower-case name, so that a script's header replaces a default one."""
    return {name.lower(): value for name, value in headers.items()}
