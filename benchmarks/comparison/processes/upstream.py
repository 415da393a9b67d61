"""The server that everybody asks: canned answers by path, keep-alive, in a process of its own.

    python upstream.py

Prints its port. Answers POSTs below /whole, /fail, /stream, /paced (each event in a packet of its own) and /hold/N
(nothing until N of them wait, then all), and GET /last with the body of the latest POST. Ends with its standard input.
"""

import asyncio
import sys
from contextlib import suppress

from traffic import events, failed, whole

PAUSE = 0.001
"""Seconds between two packets of a paced answer."""


def response(body: bytes, status: str = "200 OK", kind: str = "application/json") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


def piece(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
PIECES = [piece(event) for event in (*events(), b"")]
WHOLE = response(whole())
CANNED = {
    b"whole": WHOLE,
    b"fail": response(failed(), "503 Service Unavailable"),
    b"stream": STREAM_HEAD + b"".join(PIECES),
}


class Upstream(asyncio.Protocol):
    """One connection; requests on it come one after the other."""

    waiting: list[asyncio.Transport] = []  # noqa: RUF012 - those of all connections
    last = b""

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, found, body = self.received.partition(b"\r\n\r\n")
        if not found:
            return
        _, _, length = head.lower().partition(b"\r\ncontent-length:")
        if len(body) < int(length.partition(b"\r\n")[0] or 0):
            return
        self.received = b""
        method, path, _ = head.split(b" ", 2)
        self.answer(method, path.split(b"/"), body)

    def answer(self, method: bytes, path: list[bytes], body: bytes) -> None:
        if method == b"GET":
            self.transport.write(response(Upstream.last))
            return
        Upstream.last = body
        match path:
            case [_, b"hold", number, *_]:
                self.waiting.append(self.transport)
                if len(self.waiting) >= int(number):
                    for transport in self.waiting:
                        transport.write(WHOLE)
                    self.waiting.clear()
            case [_, b"paced", *_]:
                self.transport.write(STREAM_HEAD)
                self.pace(iter(PIECES))
            case _:
                self.transport.write(CANNED[path[1]])

    def pace(self, pieces) -> None:
        if (one := next(pieces, None)) is not None and not self.transport.is_closing():
            self.transport.write(one)
            asyncio.get_running_loop().call_later(PAUSE, self.pace, pieces)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.transport in self.waiting:
            self.waiting.remove(self.transport)


async def main() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", 0, backlog=20_000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    with suppress(ImportError):
        import uvloop

        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(main())
