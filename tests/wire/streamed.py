"""One streamed request through a router and a real backend, in front of a transport that says what a test wants."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import httpx
from attrs import define, evolve, field, frozen

from pointsman import Router
from pointsman.chat import Chunk, Completion
from pointsman.errors import Failure, PointsmanError, RouteError, StreamInterrupted

EVENT_STREAM = {"content-type": "text/event-stream"}


@define(eq=False)
class Saying(httpx.AsyncBaseTransport):
    """Answers everything with one response, its body in these pieces."""

    pieces: Sequence[bytes]
    status: int = 200
    headers: Any = field(factory=lambda: EVENT_STREAM)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(self.status, headers=self.headers, stream=_Body(self.pieces))


@define(eq=False)
class _Body(httpx.AsyncByteStream):
    pieces: Sequence[bytes]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece


def config(backend: str, plugins: Mapping[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
    """One model on one backend, tried once and never given up."""
    return {
        "router": {"max_attempts": 1},
        "plugins": {backend: settings, "breaker": {"enabled": False}, **(plugins or {})},
        "models": {"model": {"on": {backend: "vendor/model"}}},
    }


def router_over(backend: str, transport: httpx.AsyncBaseTransport) -> Router:
    return Router(config(backend, base_url="http://unused.invalid", transport=lambda: transport))


@frozen
class Told:
    """What a reader was told, without what differs from one run to the next."""

    chunks: list[Chunk]
    answer: Completion | None
    """The answer, or what had arrived of it."""
    failure: Failure | None

    @classmethod
    def of(cls, chunks: list[Chunk], end: Completion | PointsmanError) -> "Told":
        assert isinstance(end, Completion | RouteError)
        assert end.decision is not None
        (attempt,) = end.decision.attempts
        answer = end.partial if isinstance(end, StreamInterrupted) else end if isinstance(end, Completion) else None
        if answer is None:
            assert chunks == [], "what failed before its first content was not seen"
        return cls(chunks, answer and evolve(answer, decision=None), attempt.failure)

    @property
    def blame(self) -> tuple[str, str, str]:
        assert self.failure is not None, self.answer
        return self.failure.kind, self.failure.blames, self.failure.breaker

    @property
    def whole(self) -> Completion:
        """The answer, which has to be one."""
        assert self.failure is None, self.failure
        assert self.answer is not None
        return self.answer

    @property
    def partial(self) -> Completion:
        """What had arrived before the stream was interrupted."""
        assert self.failure is not None
        assert self.failure.kind == "interrupted"
        assert self.answer is not None
        return self.answer


async def read(router: Router, **options: Any) -> Told:
    chunks: list[Chunk] = []
    async with router.astream("hello", **options) as stream:
        try:
            async for chunk in stream:
                chunks.append(chunk)  # noqa: PERF401 - what came before an error counts
        except PointsmanError as error:
            return Told.of(chunks, error)
        return Told.of(chunks, stream.completion)


def told_by(backend: str, transport: httpx.AsyncBaseTransport, **options: Any) -> Told:
    """What the reader of one stream is told."""

    async def run() -> Told:
        async with router_over(backend, transport) as router:
            return await read(router, **options)

    return asyncio.run(run())
