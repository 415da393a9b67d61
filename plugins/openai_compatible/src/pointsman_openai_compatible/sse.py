"""An incremental decoder of event streams, byte-exact under the WHATWG rules for any split of the input.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation: lines end
with LF, CRLF or CR; the text is UTF-8 whatever a header says, a byte order mark at its beginning is skipped; an event
that the stream ends in the middle of is not dispatched. Of types only `error` is kept, and no ids: no chat stream has
others.

Our own, because httpx-sse 0.4.3 holds back a line that ends with CR until more comes, dispatches events without data,
keeps the byte order mark, and bounds nothing.
"""

_BOM = b"\xef\xbb\xbf"


class EventTooLarge(Exception):
    """One event holds more bytes than allowed."""

    def __init__(self, before: list[bytes]) -> None:
        super().__init__()
        self.before = before
        """The data of the events that end in the same bytes and before it."""


def text_in(data: bytes) -> str:
    """The data as text. What is no UTF-8 is replaced."""
    return data.decode("utf-8", "replace")


class ErrorData(bytes):
    """The data of an event whose type is `error`."""

    __slots__ = ()


class EventDecoder:
    """Feed it bytes as they come; it gives the data of the events that they complete."""

    def __init__(self, max_event: int) -> None:
        self._max_event = max_event
        self._line = bytearray()
        self._data: list[bytes] = []
        self._size = 0
        self._data_type: type[bytes] = bytes
        self._after_cr = False
        self._at_start = True

    def feed(self, received: bytes) -> list[bytes]:
        """The data of each event that ends in these bytes. Raises `EventTooLarge`."""
        if self._after_cr and received:
            # The CR ended its line when it came; an LF right behind it is the same line end.
            received = received.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" in received:
            self._after_cr = received.endswith(b"\r")
            received = received.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *lines, rest = received.split(b"\n")
        if lines and self._line:
            lines[0] = bytes(self._line) + lines[0]
            self._line.clear()
        if lines and self._at_start:
            lines[0] = lines[0].removeprefix(_BOM)
            self._at_start = False
        events = self._events(lines)
        self._line += rest
        if self._size + len(self._line) > self._max_event:
            raise EventTooLarge(events)
        return events

    def _events(self, lines: list[bytes]) -> list[bytes]:
        events: list[bytes] = []
        data, size, data_type = self._data, self._size, self._data_type
        for line in lines:
            if not line:
                if data:
                    whole = b"\n".join(data)
                    events.append(whole if data_type is bytes else ErrorData(whole))
                    data = []
                size, data_type = 0, bytes
                continue
            if line.startswith(b"data: "):  # nearly always
                value = line[6:]
            else:
                name, _, value = line.partition(b":")
                value = value.removeprefix(b" ")
                if name == b"event":
                    data_type = ErrorData if value == b"error" else bytes
                if name != b"data":
                    continue
            data.append(value)
            size += len(value) + 1  # with the line's end, or empty lines would be free
            if size > self._max_event:
                raise EventTooLarge(events)
        self._data, self._size, self._data_type = data, size, data_type
        return events
