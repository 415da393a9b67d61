"""An incremental decoder of event streams, byte-exact under the WHATWG rules for any split of the input.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation: lines end
with LF, CRLF or CR; the text is UTF-8 whatever a header says, a byte order mark at its beginning is skipped; an event
that the stream ends in the middle of is not dispatched.
"""

from typing import NamedTuple

_BOM = b"\xef\xbb\xbf"


class ServerSentEvent(NamedTuple):
    """One dispatched event."""

    type: str
    """`message` unless the stream says otherwise."""
    data: str


class EventTooLarge(Exception):
    """One event holds more bytes than allowed."""


class EventDecoder:
    """Feed it bytes as they come; it gives the events that they complete."""

    def __init__(self, max_event: int) -> None:
        self._max_event = max_event
        self._line = bytearray()
        self._data: list[bytes] = []
        self._size = 0
        self._type = b""
        self._after_cr = False
        self._at_start = True

    def feed(self, received: bytes) -> list[ServerSentEvent]:
        """The events that end in these bytes. Raises `EventTooLarge`."""
        if self._after_cr and received:
            # The CR ended its line when it came; an LF right behind it is the same line end.
            received = received.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" in received:
            self._after_cr = received.endswith(b"\r")
            received = received.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        first, *lines = received.split(b"\n")
        self._line += first
        events: list[ServerSentEvent] = []
        if lines:
            rest = lines.pop()
            self._take(bytes(self._line), events)
            for line in lines:
                self._take(line, events)
            self._line = bytearray(rest)
        if self._size + len(self._line) > self._max_event:
            raise EventTooLarge
        return events

    def _take(self, line: bytes, events: list[ServerSentEvent]) -> None:
        if self._at_start:
            line = line.removeprefix(_BOM)
            self._at_start = False
        if not line:
            if self._data:
                kind = self._type.decode("utf-8", "replace") or "message"
                events.append(ServerSentEvent(kind, b"\n".join(self._data).decode("utf-8", "replace")))
            self._data, self._size, self._type = [], 0, b""
            return
        name, _, value = line.partition(b":")
        if name == b"data":
            value = value.removeprefix(b" ")
            self._data.append(value)
            self._size += len(value) + 1  # with the line's end, or empty lines would be free
            if self._size > self._max_event:
                raise EventTooLarge
        elif name == b"event":
            self._type = value.removeprefix(b" ")
