"""The sink. Events wait in memory for a moment, and are written many at a time."""

import logging
import sqlite3
import threading
from collections.abc import Iterable
from pathlib import Path
from time import monotonic, time

from attrs import define, field, validators

from pointsman import Event, MetricEmission, RecordedRequest, Recording, RecordQuery, Seconds, hookimpl

from . import reading
from .pruning import prune
from .rows import Row, row_of, statement
from .schema import prepare

logger = logging.getLogger(__name__)

MOST_WAITING = 20_000
"""Rows that wait while the file cannot be written. Then further events are refused, and the router counts them lost."""

PRUNE_EVERY = 10.0
"""Seconds between two looks at what is too old or too much."""


@define(eq=False, kw_only=True)
class MetricsSqlite(MetricEmission, Recording):
    """Keeps every event in one SQLite file, bounded by age and size."""

    file: Path = Path("pointsman.sqlite3")
    """Made when it is not there; its folder has to be. Any number of processes may share it."""
    keep_for: Seconds = field(default=Seconds(30 * 86400.0), validator=validators.gt(Seconds(0.0)))
    """What is older is deleted."""
    keep_megabytes: float = field(default=1000.0, validator=validators.ge(1.0))
    """When the file has more, the oldest is deleted."""
    commit_every: Seconds = field(default=Seconds(1.0), validator=validators.ge(Seconds(0.01)))
    """An event is in the file after so long at the latest: what a process that is killed loses."""
    _connection: sqlite3.Connection | None = field(default=None, init=False)
    _waiting: dict[object, tuple[str, Row]] = field(factory=dict[object, tuple[str, Row]], init=False)
    """Rows by their key, so that who begins and ends within a moment is written once."""
    _lock: threading.Lock = field(factory=threading.Lock, init=False)
    """Held while `_waiting` is looked at."""
    _writing: threading.Lock = field(factory=threading.Lock, init=False)
    """Held while the connection is used."""
    _stop: threading.Event = field(factory=threading.Event, init=False)
    _writer: threading.Thread | None = field(default=None, init=False)
    _pruned_at: float = field(default=0.0, init=False)
    _left_to_the_parent: list[sqlite3.Connection] = field(factory=list[sqlite3.Connection], init=False, repr=False)
    """A connection must not be closed on the other side of a fork, not even by the garbage collector."""

    @hookimpl
    def start_sink(self) -> None:
        if self._connection is not None:
            self._left_to_the_parent.append(self._connection)
        self._waiting, self._stop = {}, threading.Event()
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._connection = sqlite3.connect(self.file, isolation_level=None, check_same_thread=False)
        prepare(self._connection)
        self._writer = threading.Thread(target=self._write_now_and_then, name="pointsman-sqlite", daemon=True)
        self._writer.start()

    @hookimpl
    def emit_metric(self, event: Event) -> None:
        table, row = row_of(event)
        key = (table, row.get("request_id"), row.get("number")) if table != "events" else object()
        with self._lock:
            if len(self._waiting) >= MOST_WAITING and key not in self._waiting:
                raise BufferError(f"{MOST_WAITING} rows wait already, and {self.file} cannot be written")
            self._waiting[key] = (table, row)

    @hookimpl
    def flush_sink(self) -> None:
        self._write()

    @hookimpl
    def close_sink(self) -> None:
        self._stop.set()
        if self._writer is not None:
            self._writer.join()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    @hookimpl
    def recorded_requests(self, query: RecordQuery) -> Iterable[RecordedRequest]:
        return reading.recorded(self.file, query)

    def _write_now_and_then(self) -> None:
        complained = False
        while not self._stop.wait(self.commit_every):
            try:
                self._write()
                self._prune_now_and_then()
            except sqlite3.Error as error:
                # It is tried again, with what comes until then.
                if not complained:
                    logger.error("%s cannot be written, which is tried again: %s", self.file, error)  # noqa: TRY400 - one line says it
                complained = True
            else:
                complained = False

    def _prune_now_and_then(self) -> None:
        if monotonic() >= self._pruned_at + PRUNE_EVERY and self._connection is not None:
            self._pruned_at = monotonic()
            with self._writing:
                prune(self._connection, before=time() - self.keep_for, most_bytes=self.keep_megabytes * 1e6)

    def _write(self) -> None:
        """Writes what waits, all or nothing. Raises `sqlite3.Error`, and then it still waits."""
        connection = self._connection
        with self._lock:
            waiting = dict(self._waiting)
        if not waiting or connection is None:
            return
        with self._writing:
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                for table, row in waiting.values():
                    connection.execute(statement(table, row), row)
        with self._lock:
            for key, written in waiting.items():
                if self._waiting.get(key) is written:
                    del self._waiting[key]
