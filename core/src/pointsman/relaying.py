"""Carries a streamed plan out: relays chunks from a backend to a flow, and watches over them.

One task reads the backend's stream. The driver waits for its first content, then for its end, by the
clock. Nothing reaches the reader before the plan has committed to the answer.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

from .asking import raised
from .assembly import Assembly, shortcoming
from .chat import Chunk, Completion
from .context import AttemptContext
from .driver import tell
from .errors import AttemptFailed, Failure
from .flow import Flow
from .hooks import Backend
from .loops import Loops, OpenBackends
from .plan import Attempt, Committed, Failed, Outcome, Pause, Relay, TimedOut, plan
from .recorder import Recorder
from .time_limit import release, when_caught_up

logger = logging.getLogger(__name__)

MOST_HELD = 1000
"""Chunks that may come before the first content: far more than any server sends, and bounded all the same."""


class StreamDriver:
    """Drives the plan of a streamed answer, and writes that to a flow."""

    def __init__(self, loops: Loops, flow: Flow) -> None:
        self.loops = loops
        self.flow = flow

    async def complete(
        self, task: "asyncio.Task[Any]", here: OpenBackends, recorder: Recorder, time_allowed: float
    ) -> Completion:
        """The whole answer, once the flow had every chunk of it; or the `RouteError` that its plan ends with."""
        steps = plan(recorder, time_allowed)
        relayed: _RelayedAttempt | None = None
        try:
            step = next(steps)
            while True:
                outcome: Outcome | None = None
                if isinstance(step, Attempt):
                    self.loops.check_open()
                    relayed = _RelayedAttempt(task.get_loop(), here, step, recorder, self.flow)
                    outcome = await relayed.until_first_content()
                elif isinstance(step, Pause):
                    await asyncio.sleep(step.seconds)
                elif relayed is not None:
                    outcome = await relayed.until_end(step)
                if relayed is not None and not isinstance(outcome, Committed):
                    await relayed.release()
                    relayed = None
                step = steps.send(outcome)
        except StopIteration as stop:
            answer: Completion = stop.value
            if answer.decision is not None and answer.decision.outcome == "last_resort":
                self.flow.decision = answer.decision  # before the only chunk: its reader may be another thread
                self.flow.write(Chunk(text=answer.text, finish_reason=answer.finish_reason))
            return answer
        except GeneratorExit as error:
            # The coroutine is dropped with its loop: there is nothing left to wait with.
            tell(steps, error)
            raise
        except BaseException as error:
            try:
                if relayed is not None:
                    await relayed.release()
            finally:  # cancelled once more, perhaps
                tell(steps, GeneratorExit() if self.flow.abandoned else error)
            raise
        finally:
            self.flow.decision = recorder.ended


class _RelayedAttempt:
    """One attempt at a streamed answer."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, here: OpenBackends, step: Attempt, recorder: Recorder, flow: Flow
    ) -> None:
        self._here = here
        self._step = step
        self._flow = flow
        self._recorder = recorder
        self._loop = loop
        self._assembly = Assembly()
        self._first: asyncio.Future[Outcome] = self._loop.create_future()
        self._end: asyncio.Future[Outcome] = self._loop.create_future()
        self._committed = False
        self._over = False
        self._held: list[Chunk] = []
        self._last_content = 0.0
        self._watching: asyncio.TimerHandle | None = None
        backend = recorder.ctx.snapshot.hooks.backends.get(step.target.backend)
        self._task = self._loop.create_task(self._read(backend))

    async def until_first_content(self) -> Outcome:
        """`Committed` when the first content is there, or how the attempt ended without any."""
        timer = self._loop.call_later(self._step.time_limit, when_caught_up, resolve, self._first, TimedOut())
        try:
            return await self._first
        finally:
            timer.cancel()

    async def until_end(self, step: Relay) -> Outcome:
        """How the attempt ended; timed out where it is silent for `idle_timeout`, or at the deadline."""
        self._watch(step.idle_timeout)
        deadline = self._loop.call_later(step.time_left, resolve, self._end, TimedOut())
        try:
            outcome = await self._end
        finally:
            deadline.cancel()
            if self._watching is not None:
                self._watching.cancel()
        if isinstance(outcome, TimedOut):
            # A server that said why it stopped, and then does not hang up, has answered.
            return self._ended() if self._assembly.finish_reason else TimedOut(self._assembly.completion())
        return outcome

    async def release(self) -> None:
        """Ends the attempt, and with it the connection. Nothing more of it reaches the reader."""
        self._over = True
        if not self._task.done():
            await release(self._task, self._step.target.backend, self._here.left)

    def _watch(self, idle_timeout: float) -> None:
        """Times the attempt out when its last content is too long ago, not counting what the reader held back."""
        now = self._loop.time()
        if self._flow.held_back:
            self._last_content = now
        left = self._last_content + idle_timeout - now
        if left > 0:
            self._watching = self._loop.call_later(left, self._watch, idle_timeout)
        else:
            when_caught_up(self._give_up, self._last_content, idle_timeout)

    def _give_up(self, last_content: float, idle_timeout: float) -> None:
        """Times the attempt out, unless it has had content since."""
        if self._last_content == last_content:
            resolve(self._end, TimedOut())
        elif not self._end.done():
            self._watch(idle_timeout)

    async def _read(self, backend: Backend | None) -> None:
        """Reads the backend's stream, and says how it ended."""
        try:
            outcome = await self._outcome(backend)
        except BaseException as error:
            if not self._loop.is_closed():  # it may have been dropped with its loop
                # Whoever cancels from outside has resolved both before.
                what = "cancelled itself" if isinstance(error, asyncio.CancelledError) else raised(error)
                self._resolve(self._at_fault(what))
            raise
        self._resolve(outcome)

    def _resolve(self, outcome: Outcome) -> None:
        resolve(self._first, outcome)
        resolve(self._end, outcome)

    async def _outcome(self, backend: Backend | None) -> Outcome:
        step, recorder = self._step, self._recorder
        if backend is None or backend.stream is None:
            return Failed(Failure.of("plugin", f"{step.target}: no active backend streams it", delivery="not_sent"))
        ctx = AttemptContext(request_id=recorder.request_id, number=step.number, time_limit=step.time_left)
        wrong: str | None = None
        try:
            await self._here.open(backend)
            chunks = backend.stream(step.target, recorder.request, ctx)
            if isinstance(chunks, AsyncIterator):  # pyright: ignore[reportUnnecessaryIsInstance] - a plugin may err
                wrong = await self._relay(chunks, backend.name)
            else:
                wrong = f"returned {type(chunks).__name__}, not an asynchronous generator"
        except AttemptFailed as error:
            return Failed(error.failure, self._assembly.completion())
        except (asyncio.CancelledError, KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001 - whatever a plugin raises, sys.exit included
            wrong = raised(error)
        if wrong is not None:
            return self._at_fault(wrong)
        return self._ended()

    def _at_fault(self, what: str) -> Failed:
        """The outcome where the backend plugin itself is at fault."""
        return Failed(Failure.of_plugin(self._step.target.backend, "stream", what), self._assembly.completion())

    def _ended(self) -> Outcome:
        """The answer, where the stream ended as one does."""
        answer = self._assembly.completion()
        if not answer.finish_reason:
            cut = Failure.of("bad_response", "the stream ended without a finish reason", delivery="possibly_billed")
            return Failed(cut, answer)
        if missing := shortcoming(answer):
            return Failed(missing, answer)
        self._hand_on_held()  # an answer can be nothing but its end
        return answer

    async def _relay(self, chunks: AsyncIterator[Chunk], plugin: str) -> str | None:
        """Takes every chunk in, and hands on those that say something, from the first content on.

        Returns what is wrong with the stream, where that is the plugin's own fault.
        """
        try:
            async for chunk in chunks:
                if self._over:
                    break
                if not isinstance(chunk, Chunk):  # pyright: ignore[reportUnnecessaryIsInstance] - a plugin may err
                    return f"yielded {type(chunk).__name__}, not a Chunk"
                self._assembly.add(chunk)
                if chunk.text or chunk.has_content:  # the former is nearly always so, and the latter is a call
                    self._last_content = self._loop.time()
                    if not self._committed and not self._commit():
                        break
                elif chunk.finish_reason is None and chunk.usage is None and not chunk.has_notes:
                    continue
                if not self._committed:
                    self._hold(chunk)
                elif not self._flow.write(chunk):
                    await self._flow.room()
                    self._last_content = self._loop.time()
        finally:
            # The backend's generator is closed here and now, not whenever it is collected: the connection is its.
            if not self._loop.is_closed():
                await _close(chunks, plugin)
        return None

    def _hold(self, chunk: Chunk) -> None:
        """Keeps a chunk until the first content; of those that only count tokens, one after the other, the last."""
        if self._held and _only_counts(chunk) and _only_counts(self._held[-1]):
            self._held[-1] = chunk
        elif len(self._held) < MOST_HELD:
            self._held.append(chunk)
        else:
            endless = f"{MOST_HELD} chunks and no content among them"
            raise AttemptFailed(Failure.of("bad_response", endless, delivery="possibly_billed"))

    def _commit(self) -> bool:
        """Whether this attempt is the one whose answer is shown; not where its time limit was first."""
        self._committed = resolve(self._first, Committed(self._recorder.ctx.now))
        if self._committed:
            self._flow.begun = self._recorder.decision(serving=self._step.target)
            self._hand_on_held()
        return self._committed

    def _hand_on_held(self) -> None:
        for chunk in self._held:
            self._flow.write(chunk)
        self._held.clear()


def resolve(outcome: "asyncio.Future[Outcome]", value: Outcome) -> bool:
    """Whether this is the outcome: whatever comes first is."""
    if outcome.done():
        return False
    outcome.set_result(value)
    return True


def _only_counts(chunk: Chunk) -> bool:
    return chunk.finish_reason is None and not chunk.has_notes and not chunk.has_content


async def _close(chunks: AsyncIterator[Chunk], plugin: str) -> None:
    close = getattr(chunks, "aclose", None)
    if close is None:
        return
    try:
        await close()
    except (asyncio.CancelledError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 - whatever a plugin raises, sys.exit included
        # How the attempt ended is known, and this does not change it.
        logger.error("plugin %s: stream %s while it was closed", plugin, raised(error))  # noqa: TRY400 - a traceback quotes
