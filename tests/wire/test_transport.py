"""The way to a server and back, over real sockets."""

import asyncio
import gzip
import json
import os
import socket
import ssl
import sys
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import httpx
import pytest
import trustme

from pointsman import Router
from pointsman.chat import Completion
from pointsman.context import AttemptContext
from pointsman.errors import AttemptFailed, Failure
from pointsman.settings import Seconds, Secret
from pointsman_openai_compatible import OpenAICompatible
from tests.faults.table import row
from tests.support.sockets import closed_port, full
from tests.wire.loopback import Handler, Server, a_request, a_target, answer_to, call, read_request, serving, started

ANSWER = json.dumps(
    {"id": "1", "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hej"}}]}
).encode()


def backend(url: str, **settings: object) -> OpenAICompatible:
    return OpenAICompatible(base_url=url, **settings)  # pyright: ignore[reportArgumentType] - passed on


def failure_of(url: str, **settings: object) -> Failure:
    async def run() -> Completion | Failure:
        async with started(backend(url, **settings)) as ours:
            return await call(ours)

    got = asyncio.run(run())
    assert isinstance(got, Failure), got
    return got


def failure_from(handler: Handler, **settings: object) -> Failure:
    async def run() -> Completion | Failure:
        async with serving(handler) as address, started(backend(address, **settings)) as ours:
            return await call(ours)

    got = asyncio.run(run())
    assert isinstance(got, Failure), got
    return got


def writes(*pieces: bytes, stay: bool = False) -> Handler:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        if stay:
            await reader.read()

    return handler


def response(body: bytes, *headers: str, length: int | None = None) -> bytes:
    lines = ["HTTP/1.1 200 OK", "content-type: application/json", *headers]
    lines.append(f"content-length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def the_way(failure: Failure) -> tuple[str, str, str, str]:
    return failure.kind, failure.blames, failure.breaker, failure.delivery


NOT_SENT = ("connect", "backend", "counts", "not_sent")
HUNG_UP = ("connect", "backend", "counts", "possibly_billed")
UNUSABLE = ("bad_response", "model", "counts")


def test_a_refused_connection_was_not_sent() -> None:
    assert the_way(failure_of(f"http://127.0.0.1:{closed_port()}")) == NOT_SENT


def test_a_name_that_does_not_resolve_was_not_sent() -> None:
    failure = failure_of("http://name.invalid")
    assert the_way(failure) == NOT_SENT
    assert "resolve" in failure.message


def test_an_address_that_is_none_was_not_sent() -> None:
    assert the_way(failure_of(f"http://127.1:{closed_port()}")) == NOT_SENT


def test_a_server_that_never_accepts_is_left_within_the_connect_limit() -> None:
    with full() as port:
        assert the_way(failure_of(f"http://127.0.0.1:{port}", connect_timeout=Seconds(0.2))) == NOT_SENT


def test_a_tls_handshake_that_hangs_is_left_within_the_connect_limit() -> None:
    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def run() -> Completion | Failure:
        async with serving(silent) as address:
            url = address.replace("http:", "https:")
            async with started(backend(url, connect_timeout=Seconds(0.2))) as ours:
                return await call(ours)

    got = asyncio.run(run())
    assert isinstance(got, Failure)
    assert the_way(got) == NOT_SENT


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@asynccontextmanager
async def serving_tls(authority: trustme.CA, host: str) -> AsyncIterator[str]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(host).configure_cert(context)
    async with serving(Server(body=ANSWER).serve, ssl=context) as address:
        yield address


def over_tls(authority: trustme.CA, host: str, **settings: object) -> Completion | Failure:
    async def run() -> Completion | Failure:
        async with serving_tls(authority, host) as address, started(backend(address, **settings)) as ours:
            return await call(ours)

    return asyncio.run(run())


def test_an_untrusted_certificate_ends_the_attempt_before_anything_is_sent(authority: trustme.CA) -> None:
    got = over_tls(authority, "localhost")
    assert isinstance(got, Failure)
    assert the_way(got) == NOT_SENT
    assert "certificate" in got.message


def test_a_certificate_for_another_host_ends_the_attempt(authority: trustme.CA, tmp_path: Path) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    got = over_tls(authority, "elsewhere.example", ca_file=str(tmp_path / "ca.pem"))
    assert isinstance(got, Failure)
    assert the_way(got) == NOT_SENT


def test_a_ca_file_is_trusted(authority: trustme.CA, tmp_path: Path) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    got = over_tls(authority, "localhost", ca_file=str(tmp_path / "ca.pem"))
    assert isinstance(got, Completion)


def test_a_server_that_hangs_up_before_its_headers_may_have_billed() -> None:
    assert the_way(failure_from(writes())) == HUNG_UP


def test_a_server_that_resets_before_its_headers_may_have_billed() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        reset(writer)

    assert the_way(failure_from(handler)) == HUNG_UP


def reset(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()


def test_a_reused_connection_that_is_lost_says_nothing_about_the_server() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(response(ANSWER))
        await read_request(reader)

    async def run() -> tuple[object, object]:
        async with serving(once) as address, started(backend(address)) as ours:
            return await call(ours), await call(ours)

    first, second = asyncio.run(run())
    assert isinstance(first, Completion)
    assert isinstance(second, Failure)
    assert the_way(second) == ("connect", "backend", "neutral", "possibly_billed")


@pytest.mark.parametrize(
    "answer",
    [
        response(ANSWER[:20], length=len(ANSWER)),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n" + ANSWER[:5] + b"\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + ANSWER[:20],
    ],
    ids=["content-length", "chunked", "close-delimited"],
)
def test_a_body_that_is_cut_short_is_no_answer(answer: bytes) -> None:
    assert the_way(failure_from(writes(answer)))[:3] == UNUSABLE


@pytest.mark.parametrize("garbage", [b"hello\r\n\r\n", b"HTTP/1.1 200 OK\r\nx: \0\r\n\r\n", b"HTTP/9 abc\r\n\r\n"])
def test_a_response_that_is_not_http_is_no_answer(garbage: bytes) -> None:
    assert the_way(failure_from(writes(garbage)))[:3] == UNUSABLE


def test_a_server_that_never_reads_the_upload_is_left_when_the_attempt_is_cancelled() -> None:
    async def run() -> None:
        over = asyncio.Event()

        async def deaf(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.transport.pause_reading()  # pyright: ignore[reportAttributeAccessIssue] - asyncio's sockets have it
            await over.wait()

        async with serving(deaf, limit=1024) as address, started(backend(address)) as ours:
            big = a_request(({"role": "user", "content": "x" * 8_000_000},))
            tasks = asyncio.all_tasks()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(call(ours, big), 0.2)
            over.set()
            await comes_true(lambda: asyncio.all_tasks() == tasks)

    asyncio.run(run())


def test_an_answer_that_comes_before_the_upload_is_read_counts() -> None:
    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"error": {"message": "too large", "code": 413}}'
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await asyncio.sleep(30)

    async def run() -> Completion | Failure:
        async with serving(hasty, limit=1024) as address, started(backend(address)) as ours:
            big = a_request(({"role": "user", "content": "x" * 8_000_000},))
            return await asyncio.wait_for(call(ours, big), 10)

    got = asyncio.run(run())
    assert isinstance(got, Failure)
    assert (got.kind, got.status) == ("bad_request", 413)


def test_a_large_request_arrives_whole() -> None:
    server = Server(body=ANSWER)
    message = {"role": "user", "content": "æ" * 2_000_000}
    got = answer_to(backend, server, a_request((message,)))
    assert isinstance(got, Completion)
    assert server.received[0].json["messages"] == [message]
    assert "transfer-encoding" not in server.received[0].headers


def test_an_endless_body_is_left_at_the_cap() -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b" " * 65536)
            await writer.drain()

    failure = failure_from(endless, max_body=1_000_000)
    assert the_way(failure)[:3] == UNUSABLE
    assert "max_body" in failure.message


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(ANSWER)),
        ("deflate", zlib.compress(ANSWER)),
        ("deflate", zlib.compress(ANSWER, wbits=-15)),
    ],
    ids=["gzip", "zlib", "bare deflate"],
)
def test_an_answer_that_is_compressed_all_the_same_is_read(encoding: str, body: bytes) -> None:
    server = Server(headers=[("content-encoding", encoding)], body=body)
    assert isinstance(answer_to(backend, server), Completion)
    assert server.received[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", gzip.compress(b"[" + b" " * 50_000_000 + b"]")),
        ("gzip", gzip.compress(ANSWER)[:-12]),
        ("gzip", gzip.compress(ANSWER)[:-4] + b"\0\0\0\0"),
        ("gzip", b"not gzip at all"),
        ("deflate", b"not deflate"),
        ("gzip, gzip", gzip.compress(gzip.compress(ANSWER))),
        ("br", b"\x0b\x02\x80"),
    ],
    ids=["bomb", "truncated", "wrong checksum", "corrupt", "corrupt deflate", "twice", "unasked"],
)
def test_a_compressed_answer_that_cannot_be_unpacked_within_bounds_is_no_answer(encoding: str, body: bytes) -> None:
    got = answer_to(backend, Server(headers=[("content-encoding", encoding)], body=body))
    assert isinstance(got, Failure)
    assert the_way(got)[:3] == UNUSABLE


def test_an_error_is_classified_by_its_status_when_its_body_cannot_be_read() -> None:
    got = answer_to(
        backend, Server(status=429, headers=[("content-encoding", "gzip"), ("retry-after", "3")], body=b"x")
    )
    assert isinstance(got, Failure)
    assert (got.kind, got.retry_after) == ("rate_limit", 3)


def test_a_redirect_is_not_followed() -> None:
    async def run() -> tuple[Completion | Failure, Server]:
        elsewhere = Server(body=ANSWER)
        async with serving(elsewhere.serve) as other:
            here = Server(status=307, headers=[("location", f"{other}/chat/completions")])
            async with serving(here.serve) as address, started(backend(address, api_key=Secret("sk-1"))) as ours:
                return await call(ours), elsewhere

    got, elsewhere = asyncio.run(run())
    assert isinstance(got, Failure)
    assert the_way(got)[:3] == ("bad_response", "backend", "counts")
    assert elsewhere.received == []
    assert elsewhere.connections == 0


def test_a_proxy_in_the_environment_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert isinstance(answer_to(backend, Server(body=ANSWER)), Completion)


def test_cookies_are_not_kept() -> None:
    server = Server(headers=[("set-cookie", "session=1; path=/")], body=ANSWER)

    async def run() -> None:
        async with serving(server.serve) as address, started(backend(address)) as ours:
            await call(ours)
            await call(ours)

    asyncio.run(run())
    assert server.connections == 1
    assert [one for one in server.received if "cookie" in one.headers] == []


def test_long_and_many_headers_are_read() -> None:
    headers = [(f"x-litellm-{n}", "x") for n in range(300)] + [("x-litellm-fallback-errors", "e" * 30_000)]
    assert isinstance(answer_to(backend, Server(headers=headers, body=ANSWER)), Completion)


async def comes_true(condition: Callable[[], bool]) -> None:
    """Returns when what is left over is gone; nothing but the loop's turns says when."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - tasks and descriptors have no event for it
            await asyncio.sleep(0.005)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts open files in /proc")
@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{"],
    ids=["before headers", "in the body"],
)
def test_cancelling_releases_everything(answer: bytes) -> None:
    async def run() -> None:
        gone = asyncio.Event()

        async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(answer)
            await reader.read()
            gone.set()

        async with serving(handler) as address, started(backend(address)) as ours:
            before, tasks = open_files(), asyncio.all_tasks()
            for pause in (0.0, 0.001, 0.01, 0.05):
                attempt = asyncio.create_task(call(ours))
                await asyncio.sleep(pause)
                attempt.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await attempt
            await asyncio.wait_for(gone.wait(), 10)
            await comes_true(lambda: open_files() <= before and asyncio.all_tasks() == tasks)

    asyncio.run(run())


def test_each_loop_has_a_transport_of_its_own() -> None:
    made: list[httpx.AsyncBaseTransport] = []

    def transport() -> httpx.AsyncBaseTransport:
        made.append(httpx.MockTransport(lambda _: httpx.Response(200, content=ANSWER)))
        return made[-1]

    ours = backend("http://unused.invalid", transport=transport)

    async def run() -> Completion | Failure:
        async with started(ours):
            return await call(ours)

    for _ in range(3):
        assert isinstance(asyncio.run(run()), Completion)
    assert len(made) == 3


def test_routers_of_one_loop_share_a_plugins_transport_and_the_last_one_closes_it() -> None:
    class Counted(httpx.MockTransport):
        closed = 0

        async def aclose(self) -> None:
            self.closed += 1

    made: list[Counted] = []

    def transport() -> httpx.AsyncBaseTransport:
        made.append(Counted(lambda _: httpx.Response(200, content=ANSWER)))
        return made[-1]

    config = {
        "plugins": {"ours": backend("http://unused.invalid", transport=transport)},
        "models": {"m": {"on": {"ours": "m"}}},
    }

    async def run() -> None:
        async with Router(config) as second:
            async with Router(config) as first:
                assert (await first.acomplete("hej")).text == "Hej"
                assert (await second.acomplete("hej")).text == "Hej"
            assert (await second.acomplete("hej")).text == "Hej"
            assert [one.closed for one in made] == [0]

    asyncio.run(run())
    assert [one.closed for one in made] == [1]


def test_one_backend_serves_many_loops_over_real_connections() -> None:
    server = Server(body=ANSWER)

    async def run(ours: OpenAICompatible | None, address: str) -> None:
        async with started(ours or backend(address)) as one:
            assert isinstance(await call(one), Completion)

    async def outer() -> None:
        async with serving(server.serve) as address:
            ours = backend(address)
            for _ in range(3):
                await asyncio.to_thread(asyncio.run, run(ours, address))

    asyncio.run(outer())
    assert server.connections == 3


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (httpx.ConnectError("x"), NOT_SENT),
        (httpx.ConnectTimeout("x"), NOT_SENT),
        (httpx.PoolTimeout("x"), NOT_SENT),
        (httpx.ReadTimeout("x"), ("timeout", "model", "counts", "possibly_billed")),
        (httpx.ReadError("x"), HUNG_UP),
        (httpx.RemoteProtocolError("x"), HUNG_UP),
        (OSError("x"), HUNG_UP),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_transport_of_the_hosts_own_is_understood(error: Exception, expected: tuple[str, ...]) -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        raise error

    def transport() -> httpx.AsyncBaseTransport:
        return httpx.MockTransport(refuse)

    assert the_way(failure_of("http://unused.invalid", transport=transport)) == expected


def test_what_a_transport_has_as_bytes_is_unpacked_once() -> None:
    packed = httpx.Response(200, headers={"content-encoding": "gzip"}, content=gzip.compress(ANSWER))

    async def run() -> Completion | Failure:
        async with started(
            backend("http://unused.invalid", transport=lambda: httpx.MockTransport(lambda _: packed))
        ) as ours:
            return await call(ours)

    assert isinstance(asyncio.run(run()), Completion)


def test_what_a_transport_reads_from_is_closed_with_the_stream_and_by_who_reads_it() -> None:
    closed: list[object] = []

    class Body(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b'data: {"choices": [{"index": 0, "delta": {"content": "Hej"}}]}\n\n'
            finally:
                closed.append(asyncio.current_task())

        async def aclose(self) -> None:
            closed.append("response")

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=Body())

    async def run() -> None:
        async with started(backend("http://unused.invalid", transport=lambda: httpx.MockTransport(answer))) as ours:
            context = AttemptContext(request_id="r", number=1, time_limit=1.0)
            stream = ours.stream(a_target(), a_request(stream=True), context)
            assert (await anext(stream)).text == "Hej"
            await stream.aclose()
            assert closed == [asyncio.current_task(), "response"]

    asyncio.run(run())


@pytest.mark.parametrize(
    ("below", "expected"),
    [(aiohttp.ServerDisconnectedError(), HUNG_UP), (aiohttp.ConnectionTimeoutError(), NOT_SENT)],
    ids=lambda value: type(value).__name__,
)
def test_what_httpx_aiohttp_takes_for_a_connect_limit_is_told_by_what_is_below(
    below: Exception, expected: tuple[str, ...]
) -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectTimeout("x") from below

    def transport() -> httpx.AsyncBaseTransport:
        return httpx.MockTransport(refuse)

    assert the_way(failure_of("http://unused.invalid", transport=transport)) == expected


def test_a_failure_carries_no_exception_of_the_http_library() -> None:
    async def run() -> BaseException | None:
        async with started(backend(f"http://127.0.0.1:{closed_port()}")) as ours:
            try:
                await ours.complete(a_target(), a_request(), AttemptContext(request_id="r", number=1, time_limit=1.0))
            except AttemptFailed as error:
                return error
        return None

    error = asyncio.run(run())
    assert error is not None
    assert error.__cause__ is None
    assert error.__context__ is None


def test_a_call_in_a_loop_that_was_not_started_says_so() -> None:
    with pytest.raises(RuntimeError, match="start_backend"):
        asyncio.run(call(backend("http://unused.invalid")))


FORKING = """
import asyncio, os, sys, threading
from pointsman_openai_compatible import OpenAICompatible
from tests.faults.table import row
from tests.wire.loopback import call, started

backend = OpenAICompatible(base_url=sys.argv[1])
loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()


def in_loop(coroutine):
    return asyncio.run_coroutine_threadsafe(coroutine, loop).result(5)


async def in_child():
    async with started(backend):
        return await call(backend)


in_loop(backend.start_backend("backend"))
print("parent", in_loop(call(backend)).text, flush=True)
if child := os.fork():
    print("child ended with", os.waitpid(child, 0)[1], flush=True)
    print("parent", in_loop(call(backend)).text, flush=True)
    in_loop(backend.close_backend())
else:
    print("child", asyncio.run(in_child()).text, flush=True)
"""


@row(38)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_child_uses_connections_of_its_own_and_leaves_the_parents_alone() -> None:
    server = Server(body=ANSWER)

    async def run() -> tuple[bytes, bytes]:
        async with serving(server.serve) as address:
            script = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                FORKING,
                address,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            return await script.communicate()

    out, err = asyncio.run(run())
    assert err.decode() == ""
    assert out.decode().splitlines() == ["parent Hej", "child Hej", "child ended with 0", "parent Hej"]
    assert server.connections == 2


def test_little_is_read_at_once_so_that_no_read_maps_memory_anew():
    server = Server(body=ANSWER)

    async def run() -> list[int]:
        async with serving(server.serve) as address, started(backend(address)) as ours:
            assert isinstance(await call(ours), Completion)
            loop, port = asyncio.get_running_loop(), int(address.rpartition(":")[2])
            transports = loop._transports.values()  # pyright: ignore[reportAttributeAccessIssue] - asyncio's own loop has it
            return [one.max_size for one in transports if one.get_extra_info("peername")[1] == port]

    assert asyncio.run(run()) == [64 * 1024]
