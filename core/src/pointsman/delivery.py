"""Bounded queues between requests and sinks.

Each sink has a queue and a worker thread of its own, started by its first event. A sink that raises,
blocks or exits changes no response and slows none; what its queue cannot hold is dropped and counted.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from time import monotonic

from attrs import define, field, frozen

from .asking import raised
from .events import Event
from .hooks import Sink
from .per_process import PerProcess

logger = logging.getLogger(__name__)

GATHERING = 0.005
"""Seconds that a worker lets events gather before it delivers them, unless its queue fills up."""


@frozen(kw_only=True)
class SinkReport:
    """What became of the events for one sink: emitted = delivered + lost + dropped + waiting."""

    sink: str
    emitted: int
    delivered: int
    lost: int
    """The sink raised on them, or could not be started."""
    dropped: int
    """Its queue was full, or its router closed."""
    waiting: int


class _Word:
    """What is said to a worker between the events."""


@define(eq=False)
class _Flush(_Word):
    done: threading.Event = field(factory=threading.Event)


class _Close(_Word):
    """Ends the worker."""


class Lane:
    """One sink's queue and worker, in one process.

    Putting an event takes no lock: appending to a deque is atomic, and every count but `_dropped` is
    written by the worker alone. Threads that put at the same moment can overshoot the capacity by one each.
    """

    def __init__(self, sink: Sink, capacity: int) -> None:
        self.sink = sink
        self.resize(capacity)
        self._waiting: deque[Event | _Flush | _Close] = deque()
        self._filled = threading.Event()
        """Set when something is waiting."""
        self._signalled = False
        """Whether it was set since the worker last looked: cheaper to ask, for every event."""
        self._hurry = threading.Event()
        """Set when somebody waits for the worker or its queue is half full, so that it does not gather first."""
        self._lock = threading.Lock()
        self._worker: threading.Thread | None = None
        self._closed = False
        self._ended = threading.Event()
        self._complained = False
        self._dropped = 0
        self._delivered = 0
        self._lost = 0

    def resize(self, capacity: int) -> None:
        """From now on the queue holds so many events."""
        self._capacity = capacity
        self._half = capacity // 2
        """Of the capacity; none once the lane is closed. Below it an event is taken without another look."""

    def put(self, event: Event) -> None:
        """Hands an event over; never waits for the sink."""
        if len(self._waiting) >= self._half and not self._has_room():
            with self._lock:
                self._dropped += 1
            return
        self._waiting.append(event)
        if not self._signalled and (self._worker is not None or self._start()):
            self._signalled = True
            self._filled.set()

    def _has_room(self) -> bool:
        """Whether there is room for one more where the queue is half full; the worker is told when that begins."""
        held = len(self._waiting)
        if held == self._half:
            self._hurry.set()
        return held < self._capacity and not self._closed

    def flush(self) -> threading.Event:
        """Is set once everything put so far was delivered and flushed."""
        with self._lock:
            if self._closed:
                return self._ended
            barrier = _Flush()
            if self._worker is None:
                barrier.done.set()
            else:
                self._say(barrier)
            return barrier.done

    def close(self) -> bool:
        """Lets the worker deliver what is waiting and close the sink; False where it had been told before."""
        with self._lock:
            if self._closed:
                return False
            self._closed, self._half = True, 0
            if self._worker is None:
                self._ended.set()
            else:
                self._say(_Close())
            return True

    @property
    def ended(self) -> bool:
        """Whether the sink was flushed and closed, or never started."""
        return self._ended.is_set()

    def join(self, deadline: float) -> SinkReport:
        """Waits for the worker's end until `deadline` on the monotonic clock, at most."""
        if self._worker is not None and self._worker is not threading.current_thread():
            self._worker.join(max(deadline - monotonic(), 0))
        return self.report()

    def report(self) -> SinkReport:
        """What became of the events so far; one that a sink has just had may count twice, or not at all."""
        delivered, lost, dropped = self._delivered, self._lost, self._dropped
        waiting = sum(not isinstance(item, _Word) for item in self._copy())
        return SinkReport(
            sink=self.sink.name,
            emitted=delivered + lost + dropped + waiting,
            delivered=delivered,
            lost=lost,
            dropped=dropped,
            waiting=waiting,
        )

    def _copy(self) -> "tuple[Event | _Flush | _Close, ...]":
        while True:
            with suppress(RuntimeError):  # it changed while it was copied
                return tuple(self._waiting)

    def _say(self, word: _Flush | _Close) -> None:
        self._waiting.append(word)
        self._hurry.set()
        self._filled.set()

    def _start(self) -> bool:
        with self._lock:
            if self._worker is None and not self._closed:
                worker = threading.Thread(target=self._work, name=f"pointsman-sink-{self.sink.name}", daemon=True)
                try:
                    worker.start()
                except RuntimeError as error:  # the system has no more threads, or the interpreter is going down
                    self._complain("its thread", error)
                else:
                    self._worker = worker
            return self._worker is not None

    def _work(self) -> None:
        started, emit, waiting = self._try("start_sink", self.sink.start), self.sink.emit, self._waiting
        while True:
            # Gathers for a moment: one waking for many events costs the requests far less than one for each.
            self._filled.wait()
            self._hurry.wait(GATHERING)
            self._hurry.clear()
            # In this order, and before looking: what is put from here on is seen or signalled.
            self._filled.clear()
            self._signalled = False
            while waiting:
                item = waiting[0]  # until a sink has it, it waits
                if isinstance(item, _Word):
                    waiting.popleft()
                    if isinstance(item, _Close):
                        self._settle_down(started=started)
                        return
                    if started:
                        self._try("flush_sink", self.sink.flush)
                    item.done.set()
                    continue
                if not started:
                    self._lost += 1
                    waiting.popleft()
                    continue
                try:
                    emit(item)
                except BaseException as error:  # noqa: BLE001 - whatever a sink raises, sys.exit included
                    self._lost += 1
                    self._complain("emit_metric", error)
                else:
                    self._delivered += 1
                waiting.popleft()

    def _settle_down(self, *, started: bool) -> None:
        if started:
            self._try("flush_sink", self.sink.flush)
            self._try("close_sink", self.sink.close)
        self._ended.set()

    def _try(self, hook: str, call: Callable[[], None] | None) -> bool:
        """Whether a method of the sink returned; sys.exit in it ends neither the worker nor the program."""
        try:
            if call is not None:
                call()
        except BaseException as error:  # noqa: BLE001 - as above
            self._complain(hook, error)
            return False
        return True

    def _complain(self, hook: str, error: BaseException) -> None:
        if not self._complained:
            self._complained = True
            what = f"{hook} {raised(error)}"
            logger.error("sink %s: %s; further errors of this sink are only counted", self.sink.name, what)


@define(eq=False)
class _Lanes:
    """The lanes of one process: those that take events of new requests, and those of sinks that were taken away."""

    current: tuple[Lane, ...]
    earlier: list[Lane] = field(factory=list[Lane])

    @property
    def all(self) -> tuple[Lane, ...]:
        return (*self.current, *self.earlier)


class Delivery:
    """Every sink's lane. A forked child begins with empty lanes of its own."""

    def __init__(self, sinks: Iterable[Sink], capacity: int) -> None:
        self._sinks = tuple(sinks)
        self._capacity = capacity
        self._by_process = PerProcess(lambda: _Lanes(tuple(Lane(sink, self._capacity) for sink in self._sinks)))

    def emitter(self) -> Callable[[Event], None] | None:
        """Tells every sink in this process; it never raises and never waits. None where there are no sinks."""
        lanes = self._by_process.here().current
        if not lanes:
            return None
        if len(lanes) == 1:
            return lanes[0].put

        def tell_all(event: Event) -> None:
            for lane in lanes:
                lane.put(event)

        return tell_all

    def replace(self, sinks: Iterable[Sink], capacity: int) -> None:
        """New requests tell these sinks. A sink that stays keeps its lane; those that go hear of earlier requests."""
        here = self._by_process.here()
        self._sinks, self._capacity = tuple(sinks), capacity
        by_sink = {lane.sink: lane for lane in here.current}
        lanes = tuple(by_sink.pop(sink, None) or Lane(sink, capacity) for sink in self._sinks)
        for lane in lanes:
            lane.resize(capacity)
        here.earlier = [lane for lane in (*here.earlier, *by_sink.values()) if not lane.ended]
        here.current = lanes

    def let_go(self, sinks: Iterable[Sink]) -> None:
        """Closes the lanes of sinks that no request will tell any more; waits for none of them."""
        gone = set(sinks)
        for lane in self._by_process.here().earlier:
            if lane.sink in gone:
                lane.close()

    def flush(self, timeout: float) -> bool:
        """Whether every sink had everything within `timeout` seconds."""
        deadline = monotonic() + timeout
        # All of them are told before any is waited for.
        flushed = [lane.flush() for lane in self._by_process.here().all]
        return all(one.wait(max(deadline - monotonic(), 0)) for one in flushed)

    def close(self, timeout: float) -> tuple[SinkReport, ...]:
        """Drains every lane within `timeout` seconds together; what is left over is reported as waiting."""
        deadline = monotonic() + timeout
        lanes = self._by_process.here().all
        news = [lane.close() for lane in lanes]  # as in `flush`
        reports = tuple([lane.join(deadline) for lane in lanes])
        for lane, new, report in zip(lanes, news, reports, strict=True):
            missing = report.lost + report.dropped + report.waiting
            if new and missing:
                logger.warning("sink %s: %d of %d events were not delivered", report.sink, missing, report.emitted)
            if new and not lane.ended:
                logger.warning("sink %s: it was not flushed and closed within %.3g s", report.sink, timeout)
        return reports

    def reports(self) -> tuple[SinkReport, ...]:
        return tuple(lane.report() for lane in self._by_process.here().all)
