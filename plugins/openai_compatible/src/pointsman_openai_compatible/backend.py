"""The plugin: settings, lifecycle, and one call from request to answer.

A backend for a server with a dialect of its own inherits `OpenAICompatible` and overrides what
differs: `request_body`, `request_headers`, `own_words`, `relayed`, `diagnose`, `retry_after`,
`with_headers`, `opening`, `role_once`, `ping_path`, `pong`.
"""

import ssl
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping
from contextlib import aclosing
from functools import partial
from typing import Any, ClassVar

import httpx
from attrs import define, evolve, field

from pointsman.chat import JSON, Chunk, Completion, Request
from pointsman.context import AttemptContext
from pointsman.errors import AttemptFailed, Failure
from pointsman.hookspecs import BackendInvocation, Streaming, hookimpl
from pointsman.settings import Seconds, Secret
from pointsman.targets import Target

from . import answer, diagnosis, envelope, exchange, failures, retry_after, streaming
from .checks import checked_body, checked_headers, checked_key, checked_url, positive, text_of
from .chunks import chunk_of_whole
from .diagnosis import Diagnosis
from .envelope import ServerError
from .exchange import Reply
from .places import Opened, Place, here
from .request import chat_body, encode
from .scrub import Scrubber
from .untrusted import as_list
from .way import Response, Way

Transport = httpx.AsyncBaseTransport


@define(eq=False, kw_only=True)
class OpenAICompatible(BackendInvocation, Streaming):
    """Any server that speaks OpenAI's chat completions: vLLM, Ollama, llama.cpp, OpenAI itself."""

    base_url: str = field(validator=checked_url)
    """Up to the version: `https://api.openai.com/v1`, `http://localhost:11434/v1`."""
    api_key: Secret | None = field(default=None, validator=checked_key)
    """Sent as `Authorization: Bearer`, to this address only."""
    headers: Mapping[str, str | Secret] = field(factory=dict[str, str | Secret], validator=checked_headers, repr=False)
    """Sent with every request, over the plugin's own of the same name. A key among them is a `Secret`."""
    extra_body: Mapping[str, object] = field(factory=dict[str, object], validator=checked_body, repr=False)
    """Fields laid over every body. The request's own `extra_body` is laid over these."""
    connect_timeout: Seconds = field(default=Seconds(5.0), validator=positive)
    """How long resolving, connecting and the TLS handshake may take together."""
    max_body: int = field(default=32 * 1024 * 1024, validator=positive)
    """Bytes of an answer, unpacked. A larger one is a failure."""
    max_event: int = field(default=16 * 1024 * 1024, validator=positive)
    """Bytes of one event of a stream. A larger one is a failure."""
    ca_file: str | None = None
    """Certificates to trust, a PEM file, instead of the ones that certifi carries."""
    transport: Callable[[], Transport] | None = field(default=None, repr=False)
    """Makes the transport for the running event loop, with trust and proxies of its own. From Python only."""

    _tls: ssl.SSLContext | None = field(default=None, init=False, repr=False)
    _opened: dict[Place, Opened] = field(factory=dict[Place, Opened], init=False, repr=False)

    @hookimpl
    async def start_backend(self, name: str) -> None:  # noqa: ARG002 - a server has no use for the name
        """Make this loop's transport, or share it where another router made it. No connection is opened yet."""
        opened = self._opened.get(here())
        if opened is None:
            opened = self._opened[here()] = Opened(self._new_way())
        opened.starts += 1

    @hookimpl
    async def complete(self, target: Target, request: Request, ctx: AttemptContext) -> Completion:  # noqa: ARG002 - who calls holds it to its limit
        """The whole answer, from one HTTP request."""
        sent = self.request_body(target, request)
        content = encode(sent)
        reply = content if isinstance(content, Failure) else await self._reply("/chat/completions", content)
        outcome = reply if isinstance(reply, Failure) else self._outcome(reply, sent, partial(self._failure, request))
        if isinstance(outcome, Failure):
            # Raised here, outside every `except`: no exception of the HTTP library, which holds URL and
            # headers, hangs on it.
            raise AttemptFailed(outcome)
        return outcome

    @hookimpl
    async def stream(self, target: Target, request: Request, ctx: AttemptContext) -> AsyncGenerator[Chunk, None]:  # noqa: ARG002 - as above
        """The answer piece by piece, from one HTTP request."""
        failure = None
        async with aclosing(self._streamed(target, request)) as items:
            async for together in items:
                for item in together:
                    if isinstance(item, Failure):
                        failure = item
                    else:
                        yield item
        if failure is not None:
            raise AttemptFailed(failure)  # outside of every `except`, as above

    @hookimpl
    async def ping_backend(self) -> str:
        """What the server says to a question that costs nothing and needs the key."""
        outcome = await self._pinged()
        if isinstance(outcome, Failure):
            raise AttemptFailed(outcome)  # outside of every `except`, as above
        return outcome

    @hookimpl
    async def close_backend(self) -> None:
        """Close this loop's transport and its connections, once everybody who started it here has closed it."""
        opened = self._opened.get(here())
        if opened is None:
            return
        opened.starts -= 1
        if not opened.starts:
            del self._opened[here()]
            await opened.way.close()

    # What a dialect overrides.

    role_once: ClassVar[bool] = False
    """Whether a stream says whose answer it is at its beginning only, so that a second time another one begins."""

    def request_body(self, target: Target, request: Request) -> dict[str, JSON]:
        """The body to send."""
        return chat_body(target, request, self.extra_body)

    def request_headers(self) -> dict[str, str]:
        """The headers to send, in lower case."""
        headers = {
            "accept": "application/json, text/event-stream",
            "accept-encoding": "identity",
            "content-type": "application/json",
            "user-agent": "pointsman",
        }
        if self.api_key is not None:
            headers["authorization"] = f"Bearer {self.api_key.reveal()}"
        for name, value in self.headers.items():
            headers[name.lower()] = text_of(value)
        return headers

    def own_words(self, message: str) -> str:
        """An error's message without what the server adds to every one."""
        return message

    def relayed(self, error: ServerError) -> bool:  # noqa: ARG002 - for those that override it
        """Whether the error comes from a provider behind the server."""
        return False

    def diagnose(self, error: ServerError) -> Diagnosis:
        """What the error means."""
        return diagnosis.diagnose(error, relayed=self.relayed(error))

    def retry_after(self, error: ServerError, found: Diagnosis) -> float | None:  # noqa: ARG002 - as above
        """Seconds that the server asks us to stay away, or None."""
        return retry_after.retry_after(error.status, error.headers, error.error, error.message)

    def with_headers(self, completion: Completion, headers: Mapping[str, str]) -> Completion:  # noqa: ARG002 - as above
        """The answer with what only the response's headers say."""
        return completion

    def opening(self, headers: Mapping[str, str]) -> Chunk | None:  # noqa: ARG002 - as above
        """What only the response's headers say of a stream, before its first event."""
        return None

    def ping_path(self) -> str:
        """What to ask for, below `base_url`."""
        return "/models"

    def pong(self, body: Mapping[str, object]) -> str:
        """What the answer to that says, in a few words."""
        count = len(as_list(body.get("data")))
        return f"lists {count} model{'s'[: count != 1]}"

    # The call.

    async def _pinged(self) -> str | Failure:
        reply = await self._reply(self.ping_path(), None)
        if isinstance(reply, Failure):
            return reply
        if not exchange.is_success(reply.status):
            error = envelope.error_of_reply(reply.status, reply.headers, reply.body, {})
            return self._failure(Request(messages=(), task=""), error)
        body = answer.parse(reply)
        return body if isinstance(body, Failure) else self.pong(body)

    async def _reply(self, path: str, content: bytes | None) -> Reply | Failure:
        """What one HTTP request brings, read to its end."""
        response = await self._sent(path, content)
        if isinstance(response, Failure):
            return response
        try:
            return await exchange.read(response, self.max_body)
        finally:
            await exchange.close(response)

    async def _streamed(self, target: Target, request: Request) -> AsyncGenerator[Iterable[Chunk | Failure], None]:
        """The chunks, those together that came together; a failure is the last one."""
        sent = self.request_body(target, request)
        content = encode(sent)
        if isinstance(content, Failure):
            yield (content,)
            return
        response = await self._sent("/chat/completions", content)
        if isinstance(response, Failure):
            yield (response,)
            return
        failure = partial(self._failure, request)
        try:
            if not streaming.is_event_stream(response):
                reply = await exchange.read(response, self.max_body)
                yield (reply if isinstance(reply, Failure) else self._in_one_piece(reply, sent, failure),)
                return
            if opening := self.opening(response.headers):
                yield (opening,)
            limits = {"max_body": self.max_body, "max_event": self.max_event}
            told = streaming.chunks_of(response, sent, failure, role_once=self.role_once, **limits)
            async with aclosing(told) as items:
                async for together in items:
                    yield (self._in_one_piece(together, sent, failure),) if isinstance(together, Reply) else together
        finally:
            await exchange.close(response)

    def _in_one_piece(
        self, reply: Reply, sent: Mapping[str, JSON], failure: Callable[[ServerError], Failure]
    ) -> Chunk | Failure:
        """What a reply that is no stream amounts to, although a stream was asked for."""
        outcome = self._outcome(reply, sent, failure)
        return outcome if isinstance(outcome, Failure) else chunk_of_whole(outcome)

    def _outcome(
        self, reply: Reply, sent: Mapping[str, JSON], failure: Callable[[ServerError], Failure]
    ) -> Completion | Failure:
        """What a reply amounts to."""
        if not exchange.is_success(reply.status):
            return failure(envelope.error_of_reply(reply.status, reply.headers, reply.body, sent))
        body = answer.parse(reply)
        if isinstance(body, Failure):
            return body
        choice = answer.choice_of(body)
        if error := answer.error_inside(body, choice):
            return failure(envelope.error_in_success(error, reply.status, reply.headers, sent))
        completion = answer.completion(body, choice, reply.status)
        return completion if isinstance(completion, Failure) else self.with_headers(completion, reply.headers)

    def _failure(self, request: Request, error: ServerError) -> Failure:
        words = self.own_words(error.message)
        if words != error.message:
            error = evolve(error, message=words)
        found = self.diagnose(error)
        secrets = (*([self.api_key.reveal()] if self.api_key else []), *map(text_of, self.headers.values()))
        scrub = Scrubber(request, secrets)
        return failures.describe(error, found, scrub, retry_after=self.retry_after(error, found))

    def _sent(self, path: str, content: bytes | None) -> Coroutine[Any, Any, Response | Failure]:
        """Makes the one HTTP request."""
        url = exchange.address(self.base_url, path)
        return self._way().send(url, self.request_headers(), content, self.connect_timeout)

    def _way(self) -> Way:
        try:
            return self._opened[here()].way
        except KeyError:
            raise RuntimeError("start_backend was not called in this event loop") from None

    def _new_way(self) -> Way:
        if self.transport is not None:
            from .httpx_way import HttpxWay  # noqa: PLC0415 - as that says

            return HttpxWay(self.transport())
        from .aiohttp_way import AiohttpWay, tls_context  # noqa: PLC0415 - as that says

        if self._tls is None:
            self._tls = tls_context(self.ca_file)
        return AiohttpWay(self._tls)
