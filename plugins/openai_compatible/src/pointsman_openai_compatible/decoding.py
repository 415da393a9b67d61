"""Bodies as they come: within a bound, and unpacked where a server compressed them although we asked it not to."""

import zlib
from typing import Protocol


class BadBody(Exception):
    """A body that cannot be used; the text says why, in words that hold none of it."""


class TooLarge(BadBody):
    """A body that goes on beyond its bound."""

    def __init__(self, max_body: int, before: bytes) -> None:
        super().__init__(f"it is larger than max_body, {max_body} bytes")
        self.before = before
        """The last piece, as much of it as there was room for."""


class Body(Protocol):
    """Turns the bytes of the wire into the body, a piece at a time."""

    def feed(self, data: bytes) -> bytes:
        """The next piece. Raises `BadBody`."""
        ...

    def finish(self) -> None:
        """Called at the end of the body. Raises `BadBody` where something is missing."""
        ...


def body_of(encoding: str, max_body: int) -> Body:
    """A body of so many bytes at most, for a content-encoding header. Raises `BadBody` for one that we cannot read."""
    match encoding.strip().lower():
        case "" | "identity":
            return _Plain(max_body)
        case "gzip" | "x-gzip" | "deflate":
            return _Zlib(max_body)
        case _:
            raise BadBody("it is compressed in a way that was not asked for")


class _Plain:
    def __init__(self, max_body: int) -> None:
        self._max_body = self._left = max_body

    def feed(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            raise TooLarge(self._max_body, data[: self._left])
        return data

    def finish(self) -> None:
        return


class _Zlib:
    def __init__(self, max_body: int) -> None:
        # 32: gzip or zlib, told apart by the first bytes.
        self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
        self._started = False
        self._max_body = max_body
        self._received = self._unpacked = 0

    def feed(self, data: bytes) -> bytes:
        left = self._max_body - self._unpacked
        piece = self._unpack(data, left + 1)
        self._received += len(data)
        self._unpacked += len(piece)
        # What was received counts too: a compressed stream can go on for ever and unpack to nothing.
        if self._received > self._max_body or self._unpacked > self._max_body:
            raise TooLarge(self._max_body, piece[:left])
        return piece

    def finish(self) -> None:
        if not self._inflate.eof:
            raise BadBody("it was cut short")

    def _unpack(self, data: bytes, size: int) -> bytes:
        try:
            return self._inflated(data, size)
        except zlib.error:
            if self._started:
                raise BadBody("it does not decompress") from None
        # Some servers mean the bare stream, without zlib's header, when they say "deflate".
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            return self._inflated(data, size)
        except zlib.error:
            raise BadBody("it does not decompress") from None

    def _inflated(self, data: bytes, size: int) -> bytes:
        unpacked = self._inflate.decompress(data, size)
        self._started = True
        return unpacked
