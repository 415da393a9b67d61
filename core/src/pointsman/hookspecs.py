"""The hooks that a plugin can implement: four concerns, and one gate.

A plugin is an attrs class. Its fields are its settings, its hook implementations are what it
does. Inherit the concern (or concerns) that the plugin serves, so that a type checker sees names,
arguments and returns; decorate every implementation with `@hookimpl`:

    @define(eq=False)
    class Pin(ModelSelection):
        model: str

        @hookimpl
        def select_model(self, request, candidates, ctx):
            return Selection([t for t in candidates if t.model == self.model], why="pinned")

How each hook is called:

- *pipeline*: each step sees what the last one left; the last step has the last word.
- *addressed*: only the plugin that the target names.
- *asked*: in order, the first answer that is not None wins.
- *told*: everyone, each isolated from the others and from the request.

Decisions are synchronous and do no I/O. Only backends do I/O, and only as coroutines.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Protocol

from pluggy import HookimplMarker, HookspecMarker

from .chat import Chunk, Completion, Request
from .context import AttemptContext, DecisionContext, RouteState
from .decision import AttemptOutcome
from .errors import Failure
from .events import Event
from .records import RecordedRequest, RecordQuery
from .targets import Target
from .verdicts import GateStatus, Next, Permit, Selection, SkipTarget, Stop, WaitUntil

PROJECT = "pointsman"

hookspec = HookspecMarker(PROJECT)
hookimpl = HookimplMarker(PROJECT)
"""Marks a method as a hook implementation: `@hookimpl`, `@hookimpl(tryfirst=True)`, `@hookimpl(trylast=True)`."""


class ModelSelection(Protocol):
    """Which targets may serve a request, in which order."""

    @hookspec
    def select_model(self, request: Request, candidates: tuple[Target, ...], ctx: DecisionContext) -> Selection | None:
        """The targets that are left after this step, in the order in which to try them. *Pipeline.*

        Called once per request, before the first attempt. The first step sees every configured
        target. None leaves the candidates as they are; an empty selection ends the request with
        `NoTarget`, naming this plugin; raising ends it with `PluginError`.
        """


class BackendInvocation(Protocol):
    """How a target is reached."""

    @hookspec
    async def start_backend(self, name: str) -> None:
        """Open what the backend needs in the running event loop. *Addressed.*

        Called once in each event loop, before the first attempt in it. `name` is this instance's
        name in the configuration. Raising fails the attempt, blaming the backend.
        """

    @hookspec
    async def complete(self, target: Target, request: Request, ctx: AttemptContext) -> Completion:
        """The whole answer of `target` to `request`, from exactly one HTTP request. *Addressed.*

        Raises `AttemptFailed` for whatever goes wrong out there; anything else that it raises is
        the plugin's own fault, which blames no provider. Cancelled when `ctx.time_limit` seconds
        have passed: release everything in a `finally`.
        """
        raise NotImplementedError

    @hookspec
    async def ping_backend(self) -> str | None:
        """That the backend is there and takes its credentials, with what it says of itself. *Addressed.*

        Called by `pointsman check --ping`, never by a router, between `start_backend` and `close_backend`. Asks no
        model, so that it costs nothing. Raises `AttemptFailed` as `complete` does. None has nothing to say.
        """

    @hookspec
    async def close_backend(self) -> None:
        """Close what `start_backend` opened in the running event loop. *Addressed.*

        Called once in each loop that was started, when the loop ends or the router closes.
        """


class Streaming(Protocol):
    """How a target is reached when the caller wants the answer as it is written."""

    @hookspec
    def stream(self, target: Target, request: Request, ctx: AttemptContext) -> AsyncIterator[Chunk]:
        """The answer of `target`, piece by piece, from exactly one HTTP request. *Addressed.*

        An asynchronous generator. Ends normally only when the answer is complete; raises
        `AttemptFailed` otherwise. Closing it closes the connection.
        """
        raise NotImplementedError


class FallbackDecision(Protocol):
    """What happens after a failed attempt."""

    @hookspec
    def decide_fallback(self, request: Request, failure: Failure, state: RouteState) -> Next | Stop | None:
        """Where to go after `failure`, or why to stop. *Asked.*

        Called after each failed attempt, and again when the target that it named was refused at
        the gate. When nothing is left to try at once, asked a last time about the targets that the
        gate will open for, the first to open first. None passes the question on. The attempt budget
        and the deadline hold whatever the verdict. Raising ends the request with `PluginError`.
        """


class Gate(Protocol):
    """Whether a target may be tried right now. The place for leases: breakers, limits."""

    @hookspec
    def admit(self, target: Target, ctx: DecisionContext) -> Permit | SkipTarget | WaitUntil | None:
        """A permit, a reason to skip the target, or a time to wait for. *Asked*, and everyone must agree.

        Called immediately before each attempt. None has no opinion. Every permit that is given
        is settled exactly once, also when another gate refuses.
        """

    @hookspec
    def settle(
        self, permit: Permit, outcome: AttemptOutcome | None, failure: Failure | None, ctx: DecisionContext
    ) -> None:
        """The attempt that `permit` allowed has ended; an `outcome` of None means it never began. *Addressed.*

        Told to the plugin that gave the permit, synchronously, exactly once.
        """

    @hookspec
    def report_gate(self, ctx: DecisionContext) -> Sequence[GateStatus] | None:
        """What this gate holds of targets, backends and quotas, for `router.health()`. *Told.*

        None has nothing to report. Raising ends `router.health()` with `PluginError`.
        """


class MetricEmission(Protocol):
    """Who is told. Every method runs in a worker thread of this sink's own."""

    @hookspec
    def start_sink(self) -> None:
        """Open what the sink needs. *Told* before the first event. Raising disables the sink, with one log line."""

    @hookspec
    def emit_metric(self, event: Event) -> None:
        """One event. *Told*, in order. Raising loses this event for this sink only, counted and logged once."""

    @hookspec
    def flush_sink(self) -> None:
        """Write out what is buffered. *Told* when the router is flushed, and before it closes."""

    @hookspec
    def close_sink(self) -> None:
        """Close what `start_sink` opened. *Told* once, after the last event."""


class Recording(Protocol):
    """What a sink that keeps what it is told can be asked."""

    @hookspec
    def recorded_requests(self, query: RecordQuery) -> Iterable[RecordedRequest]:
        """The finished requests that `query` asks for, the oldest first. *Addressed.*

        Called by `pointsman logs` and `pointsman rollout status` in a process of their own, where no other method of
        the sink is called, and while other processes write. Raises `RecordsUnavailable` where there is nothing to read.
        """
        raise NotImplementedError


CONCERNS: tuple[type, ...] = (
    ModelSelection,
    BackendInvocation,
    Streaming,
    FallbackDecision,
    Gate,
    MetricEmission,
    Recording,
)
"""Every class of hook specs, in the order in which a request meets them."""
