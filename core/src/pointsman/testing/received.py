"""What a scripted server received, and how it reads it from a connection."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, cast

from attrs import field, frozen


@frozen
class ReceivedRequest:
    """One request as the server saw it. Header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str] = field(kw_only=True)
    body: bytes = field(kw_only=True, repr=False)
    connection: int = field(kw_only=True)
    """Which connection carried it, counted from 1; equal numbers mean that one was reused."""

    @property
    def json(self) -> Any:
        """The body's JSON; None when it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def model(self) -> str | None:
        """The model that the body asks for."""
        return self._field("model")

    @property
    def streamed(self) -> bool:
        """Whether the body asks for a stream."""
        return self._field("stream") is True

    def _field(self, name: str) -> Any:
        body = self.json
        return cast("dict[str, Any]", body).get(name) if isinstance(body, dict) else None


async def read_request(reader: asyncio.StreamReader, connection: int) -> ReceivedRequest | None:
    """The next request on a connection; None when the client has hung up or speaks no HTTP."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        request_line, *lines = head.decode("latin-1").split("\r\n")
        method, path, version = request_line.split(" ")
        if not version.startswith("HTTP/1."):
            return None
        pairs = (line.partition(":") for line in lines if line)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        body = await read_body(reader, headers)
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
        return None
    return ReceivedRequest(method, path, headers=headers, body=body, connection=connection)


async def read_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    """The body that the headers announce."""
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length", "0")))
    parts: list[bytes] = []
    while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    while await reader.readuntil(b"\r\n") != b"\r\n":
        """Trailers say nothing that a script could use."""
    return b"".join(parts)
