"""Ports where nobody answers."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from attrs import define, field


def closed_port() -> int:
    """A port where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@contextmanager
def full() -> Iterator[int]:
    """A port whose backlog is full, so that nobody answers a SYN."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        try:
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", port))
            yield port
        finally:
            for one in waiting:
                one.close()


@define(eq=False)
class Deaf:
    """A port that takes connections and never reads from them, while somebody is looking."""

    listening: socket.socket
    _read: bytes = field(default=b"", init=False)

    @property
    def port(self) -> int:
        return self.listening.getsockname()[1]

    def received(self) -> bytes:
        """What clients had sent, as far as the sockets' buffers took it. Raises where one has not hung up."""
        self.listening.setblocking(False)
        while True:
            try:
                client, _ = self.listening.accept()
            except BlockingIOError:
                return self._read
            with client:
                client.settimeout(1)
                try:
                    while data := client.recv(1 << 20):
                        self._read += data
                except ConnectionResetError:
                    pass


@contextmanager
def deaf() -> Iterator[Deaf]:
    """A port where connections are taken and nothing is read."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield Deaf(listening)


@contextmanager
def rude(said: bytes, *, reset: bool = False) -> Iterator[int]:
    """A port where whoever has begun to speak is told this, and hung up on."""

    def serve() -> None:
        with suppress(OSError):  # as when the port is closed
            while True:
                client, _ = listening.accept()
                with client:
                    client.recv(1)
                    client.sendall(said)
                    if reset:
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    else:
                        client.shutdown(socket.SHUT_WR)
                        client.recv(1 << 16)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()
