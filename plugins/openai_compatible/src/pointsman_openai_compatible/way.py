"""The way to a server, as a backend sees it, whichever library goes it."""

from collections.abc import AsyncIterator, Mapping
from typing import Protocol

from pointsman.errors import Failure


class Response(Protocol):
    """What came back, its body unread."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """By name, in any case."""
        ...

    def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes, packed as `headers` say. Once; who reads closes it where it is a generator.

        Raises one of `connection.broken()`.
        """
        ...

    async def close(self) -> None:
        """Gives the connection back, or closes it where the body is unread."""
        ...


class Way(Protocol):
    """One for each event loop. It follows no redirect and keeps no cookies."""

    async def send(
        self, url: str, headers: Mapping[str, str], content: bytes | None, connect_timeout: float
    ) -> Response | Failure:
        """Posts the content, or gets where there is none: the response, its body unread, or why there is none.

        Only connecting is limited, in seconds: who calls a backend holds the whole attempt to its limit.
        """
        ...

    async def close(self) -> None:
        """Closes every connection."""
        ...
