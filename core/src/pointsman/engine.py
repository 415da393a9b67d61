"""What runs behind a router's faces: the configuration in use, the requests by it, and all that they have open."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from time import monotonic, time
from typing import Any, TypeAlias

from attrs import evolve

from .asking import report_gate
from .chat import Completion
from .context import DecisionContext
from .delivery import Delivery, SinkReport
from .driver import Driver
from .errors import RouterClosed
from .events import Event, RolloutChanged
from .generations import Generations
from .hooks import Backend, Sink
from .intake import Call
from .loading import check_again
from .loops import Loops, OpenBackends
from .per_process import PerProcess
from .portal import Portal
from .recorder import Recorder
from .rollouts.overlays import Overlays
from .snapshot import Snapshot
from .verdicts import GateStatus

CarryOut: TypeAlias = Callable[["asyncio.Task[Any]", OpenBackends, Recorder, float], Coroutine[Any, Any, Completion]]
"""What makes a request's answer: in this task, with the backends that are open in its loop, within so many seconds."""

CLOSED = "the router is closed; build a new one"

BACKENDS_SHARE = 0.5
"""Of the time for closing, at most, for requests in flight and backends; what they leave of all of it is for sinks."""


class Engine:
    """One for each router. Nothing is open and no thread runs before the first request."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._delivery = Delivery(snapshot.hooks.sinks, snapshot.config.router.event_queue)
        self._loops = Loops()
        self._generations = Generations(snapshot, self._let_go)
        self._given = snapshot
        """The configuration without what was said in code."""
        self._overlays = Overlays()
        self._closed = False
        self._changing = PerProcess(threading.RLock)
        """Held while a configuration is put to use, so that nothing is opened by one after the close."""
        self.driver = Driver(self._loops)
        self.portal = Portal()

    @property
    def snapshot(self) -> Snapshot:
        """The configuration that new requests begin with. Raises `RouterClosed` after the close."""
        if self._closed:
            raise RouterClosed(CLOSED)
        return self._generations.current.snapshot

    def check_open(self, otherwise: str) -> None:
        """Raises `RouterClosed` after the close."""
        if self._closed:
            raise RouterClosed(otherwise)

    def use(self, snapshot: Snapshot) -> None:
        """Requests begin with this configuration from now on; those in flight keep theirs."""
        with self._changing.here():
            self.check_open("the router was closed while its configuration was read")
            self._put_to_use(snapshot, self._overlays.still_fitting(snapshot.config))

    def say_of_rollout(self, name: str, **changes: Any) -> None:
        """Lays settings of one rollout over the configuration. Raises `ConfigError` where they do not fit."""
        with self._changing.here():
            self.check_open(CLOSED)
            self._put_to_use(self._given, self._overlays.say(self._given.config, name, changes))

    def forget_rollout(self, name: str) -> None:
        """Takes back what was laid over one rollout."""
        with self._changing.here():
            self.check_open(CLOSED)
            self._put_to_use(self._given, self._overlays.forget(name))

    def _put_to_use(self, given: Snapshot, overlays: Overlays) -> None:
        snapshot = given
        if overlays.said:
            snapshot = evolve(given, config=overlays.over(given.config))
            check_again(snapshot)
        before = self._generations.current.snapshot.config.all_rollouts
        self._given, self._overlays = given, overlays
        # In this order: who begins with the new configuration never tells a sink that only the old one has.
        self._delivery.replace(snapshot.hooks.sinks, snapshot.config.router.event_queue)
        self._generations.replace(snapshot)
        for name, rollout in snapshot.config.all_rollouts.items():
            if rollout != before.get(name):
                self.tell(
                    RolloutChanged(
                        time=time(),
                        rollout=name,
                        control=rollout.control,
                        shares=dict(rollout.shares),
                        off=rollout.off,
                    )
                )

    def tell(self, event: Event) -> None:
        """Tells every sink."""
        tell = self._delivery.emitter()
        if tell is not None:
            tell(event)

    async def serve(self, call: Call, carry_out: CarryOut) -> Completion:
        """One request, by the configuration that is current when it begins."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is None:
            raise RuntimeError("a request runs in a task")
        here = self._loops.here(loop)
        cancelled_before = task.cancelling()
        here.requests.enter(task)
        generation = self._generations.begin(begun := call)
        try:
            if call.snapshot is not generation.snapshot:
                call = call.by(generation.snapshot)
            listener = self._delivery.emitter()
            recorder = Recorder.of(call.request, generation.snapshot, listener, here.chance)
            return await carry_out(task, here, recorder, call.time_allowed)
        except asyncio.CancelledError:
            if here.requests.was_ended(task, cancelled_before):
                raise RouterClosed("the router was closed while this request was in flight") from None
            raise
        finally:
            self._generations.end(generation, begun)
            here.requests.leave(task)

    def health(self) -> tuple[GateStatus, ...]:
        """What every gate holds."""
        return report_gate(DecisionContext(self.snapshot, 0, monotonic))

    def flush(self, timeout: float) -> bool:
        """Whether every sink had every event so far within `timeout` seconds."""
        return self._delivery.flush(timeout)

    def reports(self) -> tuple[SinkReport, ...]:
        """What became of the events for each sink."""
        return self._delivery.reports()

    def close(self, timeout: float) -> tuple[SinkReport, ...]:
        """Ends what is in flight, then closes backends and sinks, within `timeout` seconds."""
        with self._changing.here():
            self._closed = True
        began = monotonic()
        return self._close_rest(began + timeout * BACKENDS_SHARE, began + timeout)

    async def aclose(self, timeout: float) -> tuple[SinkReport, ...]:  # noqa: ASYNC109 - as `close`
        """`close`, from inside an event loop."""
        with self._changing.here():
            self._closed = True
        began = monotonic()
        await self._loops.close_here(timeout * BACKENDS_SHARE)
        return await asyncio.to_thread(self._close_rest, began + timeout * BACKENDS_SHARE, began + timeout)

    def close_at_exit(self, timeout: float) -> None:
        """Delivers what is queued, within bounds. What loops of the program's own hold is theirs to end."""
        deadline = monotonic() + timeout
        self.portal.close(timeout * BACKENDS_SHARE)
        self._delivery.close(max(deadline - monotonic(), 0))

    def _close_rest(self, backends_by: float, sinks_by: float) -> tuple[SinkReport, ...]:
        """Everything but what is open in the running loop, until these times on the monotonic clock."""
        self._loops.close_elsewhere(max(backends_by - monotonic(), 0))
        self.portal.close(max(backends_by - monotonic(), 0))
        return self._delivery.close(max(sinks_by - monotonic(), 0))

    def _let_go(self, backends: list[Backend], sinks: list[Sink]) -> None:
        self._loops.let_go(backends)
        self._delivery.let_go(sinks)
