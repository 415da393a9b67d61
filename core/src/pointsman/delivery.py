"""Bounded queues between requests and sinks.

Each sink has a queue and a worker thread of its own, started by its first event. A sink that raises,
blocks or exits changes no response and slows none; what its queue cannot hold is dropped and counted.
"""

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from time import monotonic

from attrs import define, field, frozen

from .asking import raised
from .events import Event
from .hooks import Sink

logger = logging.getLogger(__name__)

GATHERING = 0.1
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


@define(eq=False)
class _Flush:
    done: threading.Event = field(factory=threading.Event)


class _Close:
    """Ends the worker."""


class Lane:
    """One sink's queue and worker, in one process.

    Putting an event takes no lock: appending to a deque is atomic, and every count but `_dropped` is
    written by the worker alone. Threads that put at the same moment can overshoot the capacity by one each.
    """

    def __init__(self, sink: Sink, capacity: int) -> None:
        self._sink = sink
        self._capacity = capacity
        self._half_full = capacity // 2
        self._waiting: deque[Event | _Flush | _Close] = deque()
        self._filled = threading.Event()
        """Set when something is waiting."""
        self._hurry = threading.Event()
        """Set when somebody waits for the worker or its queue is half full, so that it does not gather first."""
        self._lock = threading.Lock()
        self._worker: threading.Thread | None = None
        self._closed = False
        self._complained = False
        self._dropped = 0
        self._delivered = 0
        self._lost = 0
        self._in_hand = 0

    def put(self, event: Event) -> None:
        """Hands an event over; never waits for the sink."""
        held = len(self._waiting)
        if held >= self._capacity or self._closed:
            with self._lock:
                self._dropped += 1
            return
        self._waiting.append(event)
        if held == self._half_full:
            self._hurry.set()
        if not self._filled.is_set():
            if self._worker is None:
                self._start()
            self._filled.set()

    def flush(self, deadline: float) -> bool:
        """Whether everything put so far was delivered and flushed before `deadline` on the monotonic clock."""
        if self._worker is None:
            return True
        if self._closed:
            return not self._worker.is_alive()
        barrier = _Flush()
        self._say(barrier)
        return barrier.done.wait(max(deadline - monotonic(), 0))

    def close(self, deadline: float) -> SinkReport:
        """Delivers what is waiting, as far as `deadline` allows, and closes the sink."""
        with self._lock:
            first, self._closed = not self._closed, True
        worker = self._worker
        if worker is not None:
            if first:
                self._say(_Close())
            if worker is not threading.current_thread():
                worker.join(max(deadline - monotonic(), 0))
        return self.report()

    def report(self) -> SinkReport:
        """What became of the events so far."""
        words = sum(isinstance(item, _Flush | _Close) for item in tuple(self._waiting))
        waiting = len(self._waiting) - words + self._in_hand
        return SinkReport(
            sink=self._sink.name,
            emitted=self._delivered + self._lost + self._dropped + waiting,
            delivered=self._delivered,
            lost=self._lost,
            dropped=self._dropped,
            waiting=waiting,
        )

    def _say(self, word: _Flush | _Close) -> None:
        self._waiting.append(word)
        self._hurry.set()
        self._filled.set()

    def _start(self) -> None:
        with self._lock:
            if self._worker is None:
                name = f"pointsman-sink-{self._sink.name}"
                self._worker = threading.Thread(target=self._work, name=name, daemon=True)
                self._worker.start()

    def _work(self) -> None:
        started = self._try("start_sink", self._sink.start)
        while True:
            # Gathers for a moment: one waking for many events costs the requests far less than one for each.
            self._filled.wait()
            self._hurry.wait(GATHERING)
            self._hurry.clear()
            self._filled.clear()  # before looking, so that what is put from here on is seen or signalled
            while self._waiting:
                item = self._waiting.popleft()
                if isinstance(item, _Close):
                    self._settle_down(started=started)
                    return
                if isinstance(item, _Flush):
                    if started:
                        self._try("flush_sink", self._sink.flush)
                    item.done.set()
                    continue
                self._in_hand = 1
                self._deliver(item, started=started)
                self._in_hand = 0

    def _deliver(self, event: Event, *, started: bool) -> None:
        if not started:
            self._lost += 1
            return
        try:
            self._sink.emit(event)
        except BaseException as error:  # noqa: BLE001 - whatever a sink raises, sys.exit included
            self._lost += 1
            self._complain("emit_metric", error)
        else:
            self._delivered += 1

    def _settle_down(self, *, started: bool) -> None:
        if started:
            self._try("flush_sink", self._sink.flush)
            self._try("close_sink", self._sink.close)

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
            logger.error("sink %s: %s; further errors of this sink are only counted", self._sink.name, what)


class Delivery:
    """Every sink's lane. A forked child begins with empty lanes of its own."""

    def __init__(self, sinks: Iterable[Sink], capacity: int) -> None:
        self._sinks = tuple(sinks)
        self._capacity = capacity
        self._by_process: dict[int, tuple[Lane, ...]] = {}

    def emitter(self) -> Callable[[Event], None] | None:
        """Tells every sink in this process; it never raises and never waits. None where there are no sinks."""
        lanes = self._lanes()
        if not lanes:
            return None
        if len(lanes) == 1:
            return lanes[0].put

        def tell_all(event: Event) -> None:
            for lane in lanes:
                lane.put(event)

        return tell_all

    def flush(self, timeout: float) -> bool:
        """Whether every sink had everything within `timeout` seconds."""
        deadline = monotonic() + timeout
        flushed = [lane.flush(deadline) for lane in self._lanes()]  # all of them, also after one that is late
        return all(flushed)

    def close(self, timeout: float) -> tuple[SinkReport, ...]:
        """Drains every lane within `timeout` seconds together; what is left over is reported as waiting."""
        deadline = monotonic() + timeout
        reports = tuple(lane.close(deadline) for lane in self._lanes())
        for report in reports:
            if missing := report.lost + report.dropped + report.waiting:
                logger.warning("sink %s: %d of %d events were not delivered", report.sink, missing, report.emitted)
        return reports

    def reports(self) -> tuple[SinkReport, ...]:
        return tuple(lane.report() for lane in self._lanes())

    def _lanes(self) -> tuple[Lane, ...]:
        # The process is looked at before any lock is: a lock may have been held when the process forked.
        pid = os.getpid()
        lanes = self._by_process.get(pid)
        if lanes is None:
            lanes = self._by_process.setdefault(pid, tuple(Lane(sink, self._capacity) for sink in self._sinks))
        return lanes
