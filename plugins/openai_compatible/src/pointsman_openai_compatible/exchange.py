"""A response, read within bounds and closed, each step a value or a `Failure`."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import cast

from attrs import define

from pointsman.errors import Failure

from .connection import broken, cut_short
from .decoding import BadBody, Body, TooLarge, body_of
from .way import Response

RUN_OUT = 0.05
"""Seconds for the end of a response whose answer is there. It follows in the same packet, or right behind."""


@define
class Reply:
    """A response whose body has been read."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@lru_cache(maxsize=64)
def address(base_url: str, path: str) -> str:
    """What to ask for below a server's address."""
    return base_url.rstrip("/") + path


def is_success(status: int) -> bool:
    """Whether a status says so."""
    return 200 <= status < 300  # noqa: PLR2004 - the class of statuses


async def read(response: Response, max_body: int) -> Reply | Failure:
    """The response with its whole body, unpacked, at most `max_body` bytes of it."""
    try:
        body = _new_body(response, max_body)
        raw = response.pieces()
        read: list[bytes] = []
        try:
            # Not out of `pieces`: a generator for each answer takes the event loop longer than reading one does.
            async for data in raw:
                read.append(body.feed(data))  # noqa: PERF401 - a comprehension that waits is such a generator
            body.finish()
        finally:
            await _end(raw)
    except broken() as error:
        failure = cut_short(error)
    except BadBody as error:
        failure = Failure.of("bad_response", f"the answer cannot be read: {error}", status=response.status)
    else:
        return Reply(response.status, response.headers, b"".join(read))
    if is_success(response.status):
        return failure
    # The status alone says what went wrong.
    return Reply(response.status, response.headers, b"")


async def close(response: Response) -> None:
    """Give the connection back, or close it where the body is unread."""
    # What closing meets changes nothing for a request whose outcome is known.
    with suppress(Exception):
        await response.close()


async def pieces(response: Response, max_body: int) -> AsyncGenerator[bytes, None]:
    """The body, unpacked, as it comes. Raises `BadBody`, or one of `broken()`."""
    body = _new_body(response, max_body)
    raw = response.pieces()
    try:
        async for data in raw:
            yield body.feed(data)
        body.finish()
    except TooLarge as error:
        yield error.before
        raise
    finally:
        await _end(raw)


async def run_out(rest: AsyncGenerator[bytes, None]) -> None:
    """Read on to the end where it is near, so that the connection can be used again. Nothing of it matters."""
    with suppress(TimeoutError, BadBody, *broken()):
        async with asyncio.timeout(RUN_OUT):
            async for _ in rest:
                pass


def _new_body(response: Response, max_body: int) -> Body:
    return body_of(response.headers.get("content-encoding", ""), max_body)


async def _end(raw: AsyncIterator[bytes]) -> None:
    """Closes a generator. What else a response is read from is closed with the response."""
    if hasattr(raw, "asend"):  # asking whether it is an `AsyncGenerator` takes far longer
        await cast("AsyncGenerator[bytes, None]", raw).aclose()
