"""What a broken connection means: how far the request got, and whose fault that is.

The default transport raises what aiohttp raises, others what httpx raises. That of httpx-aiohttp maps every connection
error to `httpx.ConnectTimeout`, a server that hung up after it had read the request included: the cause below tells
them apart.
"""

import asyncio
import ssl
from contextvars import ContextVar
from functools import cache

import httpx

from pointsman.errors import Failure

reused_connection: ContextVar[bool] = ContextVar("reused_connection", default=False)
"""Whether the running task's request went out on a connection that was open already."""


@cache
def broken() -> tuple[type[BaseException], ...]:
    """Everything that a transport raises when the way to the server fails."""
    import aiohttp  # noqa: PLC0415 - as `aiohttp_way` says

    return (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, aiohttp.ClientError, OSError, asyncio.TimeoutError)


_NEVER_LEFT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
    httpx.LocalProtocolError,
    httpx.InvalidURL,
)


def unanswered(error: BaseException, *, reused: bool) -> Failure:
    """The failure when `error` came instead of a response."""
    import aiohttp  # noqa: PLC0415 - as above

    origin = _origin(error)
    match origin:
        case aiohttp.ConnectionTimeoutError():
            return _never_left("no connection within the connect limit")
        case aiohttp.ClientConnectorDNSError():
            return _never_left("the name does not resolve")
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ServerFingerprintMismatch():
            return _never_left("the server's certificate is not trusted")
        case aiohttp.ClientSSLError():
            return _never_left("the TLS handshake failed")
        case aiohttp.InvalidURL():
            return _never_left("the address has no host that can be asked")
        case aiohttp.ClientConnectorError():
            return _never_left("the connection failed")
        case aiohttp.SocketTimeoutError() | httpx.ReadTimeout() | httpx.WriteTimeout():
            return Failure.of("timeout", "no answer within the time limit", delivery="possibly_billed")
        case aiohttp.ClientResponseError():
            return Failure.of("bad_response", "the answer is not HTTP", delivery="possibly_billed")
        case aiohttp.ClientConnectionError():
            return _hung_up(reused=reused)
        case _ if isinstance(origin, _NEVER_LEFT):
            tls = isinstance(error.__cause__, ssl.SSLError) or isinstance(error.__context__, ssl.SSLError)
            return _never_left("the TLS handshake failed" if tls else "the connection failed")
        case _:
            return _hung_up(reused=reused)


def cut_short(error: BaseException) -> Failure:
    """The failure when `error` came in the middle of a body."""
    import aiohttp  # noqa: PLC0415 - as above

    origin = _origin(error)
    if isinstance(origin, aiohttp.SocketTimeoutError | httpx.TimeoutException | TimeoutError):
        return Failure.of("timeout", "the answer stalled until the time limit", delivery="possibly_billed")
    return Failure.of("bad_response", "the answer was cut short", delivery="possibly_billed")


def _origin(error: BaseException) -> BaseException:
    """What aiohttp raised, where it is behind an exception of httpx."""
    import aiohttp  # noqa: PLC0415 - as above

    cause = error.__cause__
    return cause if isinstance(error, httpx.HTTPError) and isinstance(cause, aiohttp.ClientError) else error


def _never_left(why: str) -> Failure:
    return Failure.of("connect", f"not reached: {why}", delivery="not_sent")


def _hung_up(*, reused: bool) -> Failure:
    # A server may close an idle connection at the moment when a request goes out on it: that says
    # nothing about its health.
    return Failure.of(
        "connect",
        "the server hung up before it answered",
        breaker="neutral" if reused else None,
        delivery="possibly_billed",
    )
