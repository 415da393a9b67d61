"""Writes rows to one file, many at a time, in a thread of its own."""

import logging
import sqlite3
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, time

from pointsman import RecordsUnavailable

from . import forks
from .pruning import prune
from .rows import Row, statement
from .schema import prepare

logger = logging.getLogger(__name__)

MOST_WAITING = 20_000
"""Rows that wait while the file cannot be written. Then further events are refused, and the router counts them lost."""

PRUNE_EVERY = 10.0
"""Seconds between two looks at what is too old or too much."""


class Writer:
    """One file, open in one process. Raises what SQLite raises where the file cannot be used."""

    def __init__(self, file: Path, *, commit_every: float, keep_for: float, most_bytes: float) -> None:
        self.file = file
        self.commit_every = commit_every
        self.keep_for = keep_for
        self.most_bytes = most_bytes
        self._waiting: dict[object, tuple[str, Row]] = {}
        """By key, so that what begins and ends within a moment is written once."""
        self._lock = threading.Lock()
        """Held while `_waiting` is looked at, and never for long."""
        self._writing = threading.Lock()
        """Held while the connection is used, and by whoever forks."""
        self._connection: sqlite3.Connection | None = None
        self._opened: tuple[int, int] | None = None
        """Which file that is, whatever has become of its name."""
        self._prune_at = 0.0
        self._stop = threading.Event()
        forks.part_at_fork(self)
        try:
            with self._open():
                pass
        except (sqlite3.Error, RecordsUnavailable) as error:
            # The router says where a plugin raised, and not what: it cannot know what stands in it.
            logger.error("%s cannot be used: %s", file, error)  # noqa: TRY400 - one line says it
            forks.forget(self)
            raise
        self._thread = threading.Thread(target=self._write_now_and_then, name="pointsman-sqlite", daemon=True)
        self._thread.start()

    def put(self, table: str, row: Row) -> None:
        """Has a row written within `commit_every` seconds. Raises `BufferError` where too many wait already."""
        key = (table, row.get("request_id"), row.get("number")) if table != "events" else object()
        with self._lock:
            if len(self._waiting) >= MOST_WAITING and key not in self._waiting:
                raise BufferError(f"{MOST_WAITING} rows wait already, and {self.file} cannot be written")
            self._waiting[key] = (table, row)

    def write(self) -> None:
        """Writes what waits, all or nothing. Raises `sqlite3.Error`, and then it still waits."""
        with self._open() as connection:
            # Copied inside, so that of two who write nobody writes a row that the other has overtaken.
            with self._lock:
                waiting = dict(self._waiting)
            if not waiting:
                return
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                for table, row in waiting.values():
                    connection.execute(statement(table, row), row)
            with self._lock:
                for key, written in waiting.items():
                    if self._waiting.get(key) is written:
                        del self._waiting[key]

    def close(self) -> None:
        """Ends the thread and closes the file. What still waits is lost, which is logged."""
        forks.forget(self)
        self._stop.set()
        self._thread.join()
        if self._waiting:
            logger.error("%s: %d rows could not be written and are lost", self.file, len(self._waiting))
        self._disconnect()

    def before_fork(self) -> None:
        """Closes the file until it is needed again, and lets nobody open it."""
        self._writing.acquire()
        self._disconnect()

    def after_fork(self) -> None:
        """In the process that has forked: goes on."""
        self._writing.release()

    @contextmanager
    def _open(self) -> Generator[sqlite3.Connection]:
        """The connection, for one thread at a time."""
        with self._writing:
            if self._connection is not None and self._opened != self._named():
                self._disconnect()  # somebody has deleted the file or put it elsewhere, so nobody would find the rows
            if self._connection is None:
                connection = sqlite3.connect(self.file, isolation_level=None, check_same_thread=False)
                try:
                    prepare(connection)
                except BaseException:
                    connection.close()
                    raise
                self._connection, self._opened = connection, self._named()
            yield self._connection

    def _named(self) -> tuple[int, int] | None:
        """The file that has the name now."""
        try:
            found = self.file.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _write_now_and_then(self) -> None:
        complained = False
        while not self._stop.wait(self.commit_every):
            try:
                self.write()
                self._prune_now_and_then()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next time may go well
                if not complained:
                    logger.error("%s cannot be written, which is tried again: %s", self.file, error)  # noqa: TRY400 - one line says it
                complained = True
            else:
                complained = False

    def _prune_now_and_then(self) -> None:
        """A step at a time, so that what comes in the meantime is written in between."""
        more = monotonic() >= self._prune_at
        while more and not self._stop.is_set():
            with self._open() as connection:
                more = prune(connection, before=time() - self.keep_for, most_bytes=self.most_bytes)
            self.write()
            self._prune_at = monotonic() + PRUNE_EVERY
