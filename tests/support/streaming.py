"""A scripted backend that streams, and readers of both faces that leave nothing behind."""

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import pytest
from attrs import define, field, frozen

from pointsman import Router
from pointsman.chat import Chunk, Completion, ToolCallDelta, Usage
from pointsman.decision import Decision
from pointsman.errors import AttemptFailed, Failure, PointsmanError, StreamInterrupted
from pointsman.hookspecs import BackendInvocation, Streaming, hookimpl
from tests.core.support import Collecting, RequestEvent, answer, story, table
from tests.support.canaries import assert_clean, everything_shown

USAGE = Usage(input_tokens=3, output_tokens=5, cost=0.001, cost_source="usage.cost")

Step = Any
"""A chunk to yield (or what is none), a `Failure` or an exception to raise, a function whose result is awaited."""


def said(*texts: str, **known: Any) -> list[Chunk]:
    return [Chunk(text=text, **known) for text in texts]


def end(reason: str | None = "stop", **known: Any) -> Chunk:
    return Chunk(finish_reason=reason, **known)


def whole(*texts: str, usage: Usage | None = USAGE) -> list[Chunk]:
    """An answer as servers write it: a role, the text, the finish reason, the usage."""
    ids: dict[str, Any] = {"id": "gen-1", "served_model": "vendor/small", "provider": "Nordlys"}
    return [Chunk(**ids), *said(*texts, **ids), end(**ids), *([Chunk(usage=usage, **ids)] if usage else [])]


def call(index: int, arguments: str = "", **known: Any) -> Chunk:
    return Chunk(tool_calls=(ToolCallDelta(index=index, arguments=arguments, **known),))


ROLE = Chunk(raw={"choices": [{"delta": {"role": "assistant", "content": ""}}]})
"""A chunk that says nothing."""


async def silence() -> None:
    await asyncio.Event().wait()


def pause(seconds: float) -> Callable[[], Awaitable[object]]:
    return lambda: asyncio.sleep(seconds)


@define(eq=False)
class Telling(BackendInvocation, Streaming):
    """Streams each attempt as its script says: chunks, failures and exceptions to raise, things to wait for.

    Attempts after the last script get "fine".
    """

    scripts: Iterable[Iterable[Step]] = ()
    calls: int = 0
    yielded: int = 0
    """Chunks that the router has taken."""
    open: int = 0
    """Attempts whose generator is not closed."""
    endings: list[str] = field(factory=list[str])
    """For each attempt, what its generator ended with: an exception's name, or "end"."""
    _left: Iterator[Iterable[Step]] | None = field(default=None, init=False)
    _changed: threading.Condition = field(factory=threading.Condition, init=False)

    @hookimpl
    async def complete(self, target, request, ctx):
        return answer()

    @hookimpl
    async def stream(self, target, request, ctx) -> AsyncGenerator[Any, None]:
        self._left = self._left or iter(self.scripts)
        script = next(self._left, whole("fine"))
        with self._changed:
            self.calls += 1
            self.open += 1
        ending = "end"
        try:
            for step in script:
                error = AttemptFailed(step) if isinstance(step, Failure) else step
                if isinstance(error, BaseException):
                    raise error  # noqa: TRY301 - that is what the script says
                if callable(step):
                    await cast("Awaitable[object]", step())
                else:
                    self.yielded += 1
                    yield step
        except BaseException as error:
            ending = type(error).__name__
            raise
        finally:
            with self._changed:
                self.endings.append(ending)
                self.open -= 1
                self._changed.notify_all()

    def closed(self, timeout: float = 1.0) -> bool:
        """Whether every generator is closed within a second."""
        with self._changed:
            return self._changed.wait_for(lambda: self.open == 0, timeout)


def two_backends(proxy: Sequence[Iterable[Step]], direct: Sequence[Iterable[Step]] = (), **router: Any) -> "World":
    """One model on two backends, with these scripts; `router` has limits."""
    return World({"proxy": Telling(proxy), "direct": Telling(direct)}, router=router)


def one_backend(*steps: Step, **router: Any) -> "World":
    """One model on one backend, whose first attempt is these steps."""
    return World({"proxy": Telling([steps])}, router=router)


@define(eq=False)
class World:
    """Backends and a sink, to build routers from, and what must be true of them afterwards."""

    backends: Mapping[str, Any]
    models: Sequence[str] = ("small",)
    router: Mapping[str, Any] = field(factory=dict[str, Any])
    plugins: dict[str, object] = field(factory=dict[str, object])
    sink: Collecting = field(factory=Collecting)
    prompt: str = "hello"
    has_shown: bool = field(default=False, init=False)
    """Whether the reader of its one stream has a chunk."""
    deaf: bool = False
    """Whether a backend ignores its cancellation, so that its task outlives the request for a while."""

    @property
    def proxy(self) -> Telling:
        return self.backends["proxy"]

    @property
    def direct(self) -> Telling:
        return self.backends["direct"]

    def new_router(self) -> Router:
        plugins = {"sink": self.sink, **self.plugins}
        return Router(table(self.models, self.backends, plugins=plugins, router=dict(self.router)))

    def settled(self, decision: Decision) -> None:
        """Called when a stream was read to its end and the router is still open."""

    def check(self) -> list[RequestEvent]:
        """The one request's events, whole, and everything closed."""
        assert all(backend.closed() for backend in self.backends.values() if isinstance(backend, Telling))
        return story(self.sink.events)

    def last(self) -> Decision:
        """The record of the one request, from its last event."""
        return self.check()[-1].decision  # pyright: ignore[reportAttributeAccessIssue] - it is a RequestFinished


@frozen(kw_only=True)
class Reading:
    """What a reader got who read to the end."""

    chunks: list[Chunk]
    completion: Any
    error: Any
    """A `PointsmanError`; there is this or a `Completion`."""
    decision: Any
    """The `Decision`."""
    world: World

    @property
    def text(self) -> str:
        return "".join(chunk.text for chunk in self.chunks)

    @property
    def partial(self) -> Completion:
        """What had arrived of a stream that was interrupted."""
        assert isinstance(self.error, StreamInterrupted)
        assert self.error.partial is not None
        return self.error.partial

    @property
    def tried(self) -> list[tuple[str, str]]:
        """Each attempt's backend, and how it failed or ended."""
        attempts = self.decision.attempts
        return [(one.target.backend, one.failure.kind if one.failure else one.outcome) for one in attempts]


def read_synchronously(world: World, **options: Any) -> Reading:
    chunks: list[Chunk] = []
    error = None
    with world.new_router() as router, router.stream(world.prompt, **options) as stream:
        try:
            for chunk in stream:
                chunks.append(chunk)
                world.has_shown = True
        except PointsmanError as raised:
            error = raised
        completion = None if error else stream.completion
        assert stream.decision is not None
        world.settled(stream.decision)
    reading = Reading(chunks=chunks, completion=completion, error=error, decision=stream.decision, world=world)
    return checked(reading)


def read_asynchronously(world: World, **options: Any) -> Reading:
    async def main() -> Reading:
        chunks: list[Chunk] = []
        error = None
        async with world.new_router() as router:
            async with router.astream(world.prompt, **options) as stream:
                try:
                    async for chunk in stream:
                        chunks.append(chunk)
                        world.has_shown = True
                except PointsmanError as raised:
                    error = raised
                completion = None if error else stream.completion
            if not world.deaf:
                await nothing_left()
            assert stream.decision is not None
            await asyncio.to_thread(world.settled, stream.decision)
        return Reading(chunks=chunks, completion=completion, error=error, decision=stream.decision, world=world)

    return checked(asyncio.run(main()))


def checked(reading: Reading) -> Reading:
    """The reading, once it agrees with itself, with what the sink was told, and nothing is left open."""
    assert reading.decision == reading.world.last()
    told = reading.error or reading.completion
    assert told is not None
    assert getattr(told, "decision", reading.decision) == reading.decision
    if reading.completion is not None:
        assert reading.completion.text == reading.text
    else:
        assert_clean(*everything_shown(reading.error))
    return reading


async def until(condition: Callable[[], bool]) -> None:
    """Returns when the condition holds, and the loop has had a turn after that."""
    while not condition():  # noqa: ASYNC110 - what a test waits for has no event of its own
        await asyncio.sleep(0.001)
    await asyncio.sleep(0)


async def nothing_left(within: float = 0.0) -> None:
    """No task but the caller's own is left in the loop, once what was cancelled had its turn, or so many seconds."""
    ends = time.monotonic() + within
    for _ in range(3):
        await asyncio.sleep(0)
    while left := asyncio.all_tasks() - {asyncio.current_task()}:
        assert time.monotonic() < ends, left
        await asyncio.sleep(0.005)


Reader = Callable[..., Reading]

FACES: Mapping[str, Reader] = {"stream": read_synchronously, "astream": read_asynchronously}

in_both_faces = pytest.mark.parametrize("read", FACES.values(), ids=FACES)
"""A test with an argument `read`, once for each face."""
