"""The way through a transport of httpx that a host brings along: a proxy, mutual TLS, `httpx.MockTransport`."""

from collections.abc import AsyncIterator, Mapping
from typing import cast

import httpx
from attrs import frozen

from pointsman.errors import Failure

from .connection import broken, unanswered
from .way import Response


@frozen(eq=False)
class HttpxWay:
    """Goes below httpx's client, at its transport: no cookies, no redirects, no proxy from the environment."""

    transport: httpx.AsyncBaseTransport

    async def send(
        self, url: str, headers: Mapping[str, str], content: bytes | None, connect_timeout: float
    ) -> Response | Failure:
        method = "GET" if content is None else "POST"
        limits = {"timeout": {"connect": connect_timeout, "pool": connect_timeout}}
        try:
            request = httpx.Request(method, url, headers=headers, content=content, extensions=limits)
            return _Response(await self.transport.handle_async_request(request))
        except broken() as error:
            return unanswered(error, reused=False)

    async def close(self) -> None:
        await self.transport.aclose()


@frozen(eq=False)
class _Response:
    response: httpx.Response

    @property
    def status(self) -> int:
        return self.response.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        headers = self.response.headers
        if self.response.is_stream_consumed and "content-encoding" in headers:
            headers = headers.copy()
            del headers["content-encoding"]  # httpx unpacks what a transport has as bytes
        return headers

    def pieces(self) -> AsyncIterator[bytes]:
        if self.response.is_stream_consumed:
            # A transport that has the body as bytes, such as `httpx.MockTransport`.
            return aiter(httpx.ByteStream(self.response.content))
        # Without httpx's own reader, which unpacks without a bound. The transport's own iterator: who reads closes it.
        return aiter(cast("httpx.AsyncByteStream", self.response.stream))

    async def close(self) -> None:
        await self.response.aclose()
