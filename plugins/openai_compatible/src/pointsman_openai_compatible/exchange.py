"""One HTTP request and its response, each step a value or a `Failure`. Nothing is retried."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from functools import lru_cache
from typing import cast

import httpx
from attrs import frozen

from pointsman.errors import Failure

from .connection import broken, cut_short, reused_connection, unanswered
from .decoding import BadBody, decoder

LARGE_BODY = 1024 * 1024
"""Bytes. aiohttp warns about larger ones that come as bytes."""

RUN_OUT = 0.05
"""Seconds for the end of a response whose answer is there. It follows in the same packet, or right behind."""


@frozen(kw_only=True)
class Reply:
    """A response whose body has been read."""

    status: int
    headers: httpx.Headers
    body: bytes


@lru_cache(maxsize=64)
def address(base_url: str, path: str) -> httpx.URL:
    """What to ask for below a server's address."""
    return httpx.URL(base_url.rstrip("/") + path)


def post(url: httpx.URL, headers: dict[str, str], content: bytes, *, connect_timeout: float) -> httpx.Request:
    """The request, with limits for a transport that honours them.

    Only connecting is limited: who calls the backend holds the whole attempt to its limit, and a stream to its pauses.
    """
    whole = httpx.Headers(_with_host(url, tuple(headers.items())))
    # With what httpx would add, so that it does not look for it in every request.
    whole["content-length"] = str(len(content))
    body = httpx.ByteStream(content)
    request = httpx.Request("POST", url, headers=whole, stream=body, extensions=_limits(connect_timeout))
    if len(content) <= LARGE_BODY:
        request.read()
    return request


@lru_cache(maxsize=64)
def _with_host(url: httpx.URL, headers: tuple[tuple[str, str], ...]) -> httpx.Headers:
    return httpx.Headers([("host", url.netloc.decode("ascii")), *headers])


@lru_cache(maxsize=64)
def _limits(connect_timeout: float) -> dict[str, object]:
    return {"timeout": {"connect": connect_timeout, "pool": connect_timeout}}


def get(url: httpx.URL, headers: dict[str, str], *, connect_timeout: float) -> httpx.Request:
    """A request for what is there. Its time is limited by whoever waits for it."""
    return httpx.Request("GET", url, headers=headers, extensions=_limits(connect_timeout))


async def send(transport: httpx.AsyncBaseTransport, request: httpx.Request) -> httpx.Response | Failure:
    """The response, its body unread: close it with `close`. Or why there is none."""
    reused_connection.set(False)
    try:
        return await transport.handle_async_request(request)
    except broken() as error:
        return unanswered(error, reused=reused_connection.get())


async def read(response: httpx.Response, max_body: int) -> Reply | Failure:
    """The response with its whole body, unpacked, at most `max_body` bytes of it."""
    try:
        body = await _body(response, max_body)
    except broken() as error:
        failure = cut_short(error)
    except BadBody as error:
        failure = Failure.of("bad_response", f"the answer cannot be read: {error}", status=response.status_code)
    else:
        return Reply(status=response.status_code, headers=response.headers, body=body)
    if response.is_success:
        return failure
    # The status alone says what went wrong.
    return Reply(status=response.status_code, headers=response.headers, body=b"")


async def close(response: httpx.Response) -> None:
    """Give the connection back, or close it where the body is unread."""
    # What closing meets changes nothing for a request whose outcome is known.
    with suppress(Exception):
        await response.aclose()


async def pieces(response: httpx.Response, max_body: int) -> AsyncGenerator[bytes, None]:
    """The body, unpacked, as it comes. Raises `BadBody`, or one of `broken()`."""
    if response.is_stream_consumed:
        # A transport of the host's own gave the body as bytes, such as `httpx.MockTransport`.
        yield response.content
        return
    unpack = decoder(response.headers.get("content-encoding", ""))
    received = unpacked = 0
    # Without httpx's own reader, which counts and cuts what needs neither. `close` closes the response.
    raw = aiter(cast("httpx.AsyncByteStream", response.stream))
    try:
        async for data in raw:
            piece = unpack.feed(data, max_body - unpacked)
            received += len(data)
            unpacked += len(piece)
            # What was received counts too: a compressed stream can go on for ever and unpack to nothing.
            over = max(received, unpacked) - max_body
            if over > 0:
                yield piece[:-over]
                raise BadBody(f"it is larger than max_body, {max_body} bytes")
            yield piece
    finally:
        if isinstance(raw, AsyncGenerator):
            await raw.aclose()
    unpack.finish()


async def run_out(rest: AsyncGenerator[bytes, None]) -> None:
    """Read on to the end where it is near, so that the connection can be used again. Nothing of it matters."""
    with suppress(TimeoutError, BadBody, *broken()):
        async with asyncio.timeout(RUN_OUT):
            async for _ in rest:
                pass


async def _body(response: httpx.Response, max_body: int) -> bytes:
    return b"".join([piece async for piece in pieces(response, max_body)])
