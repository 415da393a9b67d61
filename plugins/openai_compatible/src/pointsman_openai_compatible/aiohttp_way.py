"""The default way, through aiohttp.

Without cookies, redirects and proxies from the environment. This module is imported when the first connection is
wanted: a program that only looks at its configuration does without.
"""

import ssl
import warnings
from collections.abc import AsyncIterator, Mapping
from functools import cache, lru_cache
from io import BytesIO
from types import CoroutineType
from typing import Any

import aiohttp
import httpx
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.tracing import Trace
from yarl import URL

from pointsman.errors import Failure
from pointsman.per_process import process_id

from .connection import broken, reused_connection, unanswered
from .way import Response

LARGE_BODY = 1024 * 1024
"""Bytes. aiohttp warns about larger ones that come as bytes."""

MAX_HEADER_LINE = 64 * 1024
"""Bytes. LiteLLM can put a JSON list of errors into one header; aiohttp's own limit is 8190."""

AT_ONCE = 64 * 1024
"""Bytes that are read at once. asyncio's own number is four times that, and glibc may map new memory for each read."""


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Verification against `ca_file`, or the certificates that certifi carries. It cannot be turned off."""
    return _of_certifi() if ca_file is None else ssl.create_default_context(cafile=ca_file)


@cache
def _of_certifi() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


class AiohttpWay:
    """For the running event loop. It opens nothing before the first request."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def send(
        self, url: str, headers: Mapping[str, str], content: bytes | None, connect_timeout: float
    ) -> Response | Failure:
        session = self._session = self._session or _session(self._tls)
        large = content is not None and len(content) > LARGE_BODY
        reused_connection.set(False)
        try:
            response = await session.request(
                "GET" if content is None else "POST",
                _parsed(url),
                headers=headers,
                data=BytesIO(content) if large and content else content,
                allow_redirects=False,
                timeout=_limits(connect_timeout),
            )
        except broken() as error:
            return unanswered(error, reused=reused_connection.get())
        return _Response(response)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


class _Response:
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers = response.headers

    def pieces(self) -> AsyncIterator[bytes]:
        return self._response.content.iter_any()

    async def close(self) -> None:
        if not self._response.closed:  # as it is at the end of the body
            self._response.release()
            await self._response.wait_for_close()


@lru_cache(maxsize=64)
def _parsed(url: str) -> URL:
    return URL(url)


@lru_cache(maxsize=64)
def _limits(connect_timeout: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(connect=connect_timeout, sock_connect=connect_timeout)


def _session(tls: ssl.SSLContext) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=_Connector(tls=tls),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None),
        max_line_size=MAX_HEADER_LINE,
        max_field_size=MAX_HEADER_LINE,
        max_headers=1024,
    )


class _Connector(aiohttp.TCPConnector):
    """A connector that belongs to the process that made it.

    In a forked child it counts as closed, and it is not cleaned up there: that would take the parent's
    connections out of the event loop's selector, which both processes share.
    """

    def __init__(self, *, tls: ssl.SSLContext) -> None:
        super().__init__(  # pyright: ignore[reportUnknownMemberType] - aiohttp leaves one type of it open
            ssl=tls, limit=0, resolver=aiohttp.ThreadedResolver()
        )
        self._process = process_id()

    def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> "CoroutineType[Any, Any, Connection]":
        reused_connection.set(True)
        return super().connect(req, traces, timeout)

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - as aiohttp calls it
    ) -> ResponseHandler:
        reused_connection.set(False)
        protocol = await super()._create_connection(req, traces, timeout)
        transport: Any = protocol.transport
        if hasattr(transport, "max_size"):  # asyncio's own, of a connection without TLS
            transport.max_size = AT_ONCE
        return protocol

    @property
    def closed(self) -> bool:
        return super().closed or self._process != process_id()

    def _release(self, key: ConnectionKey, protocol: ResponseHandler, *, should_close: bool = False) -> None:
        # What a server does not read of an upload would keep a connection that is given up open, its bytes with it.
        unread = protocol.transport is not None and protocol.transport.get_write_buffer_size()
        if unread and (should_close or protocol.should_close):
            protocol.abort()
        super()._release(key, protocol, should_close=should_close)

    def __del__(self, _warnings: object = warnings) -> None:
        if self._process == process_id():
            super().__del__(_warnings)
