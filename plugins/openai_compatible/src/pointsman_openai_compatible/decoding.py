"""Bodies that a server compressed although we asked it not to: unpacked within a bound."""

import zlib
from typing import Protocol


class BadBody(Exception):
    """A body that cannot be used; the text says why, in words that hold none of it."""


class Decoder(Protocol):
    """Turns the bytes of the wire into the body, a piece at a time."""

    def feed(self, data: bytes, limit: int) -> bytes:
        """What `data` unpacks to, at most `limit` + 1 bytes of it."""
        ...

    def finish(self) -> None:
        """Called at the end of the body. Raises `BadBody` where something is missing."""
        ...


def decoder(encoding: str) -> Decoder:
    """The decoder for a content-encoding header; raises `BadBody` for one that we cannot read."""
    match encoding.strip().lower():
        case "" | "identity":
            return _Identity()
        case "gzip" | "x-gzip" | "deflate":
            return _Zlib()
        case _:
            raise BadBody("it is compressed in a way that was not asked for")


class _Identity:
    def feed(self, data: bytes, limit: int) -> bytes:  # noqa: ARG002 - it unpacks to itself
        return data

    def finish(self) -> None:
        return


class _Zlib:
    def __init__(self) -> None:
        # 32: gzip or zlib, told apart by the first bytes.
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
        self._started = False

    def feed(self, data: bytes, limit: int) -> bytes:
        try:
            return self._unpack(data, limit + 1)
        except zlib.error:
            if self._started:
                raise BadBody("it does not decompress") from None
        # Some servers mean the bare stream, without zlib's header, when they say "deflate".
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            return self._unpack(data, limit + 1)
        except zlib.error:
            raise BadBody("it does not decompress") from None

    def _unpack(self, data: bytes, size: int) -> bytes:
        unpacked = self._inflate.decompress(data, size)
        self._started = True
        return unpacked

    def finish(self) -> None:
        if not self._inflate.eof:
            raise BadBody("it was cut short")
