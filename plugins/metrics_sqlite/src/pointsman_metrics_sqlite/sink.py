"""The sink: its settings, and which part of it does what."""

from collections.abc import Iterable
from pathlib import Path

from attrs import define, field, validators

from pointsman import Event, MetricEmission, RecordedRequest, Recording, RecordQuery, Seconds, hookimpl

from . import reading
from .rows import row_of
from .writer import Writer


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
    _writer: Writer | None = field(default=None, init=False, repr=False)

    @hookimpl
    def start_sink(self) -> None:
        # After a fork this is another process's, which is left alone.
        self._writer = Writer(
            self.file, commit_every=self.commit_every, keep_for=self.keep_for, most_bytes=self.keep_megabytes * 1e6
        )

    @hookimpl
    def emit_metric(self, event: Event) -> None:
        self._started.put(*row_of(event))

    @hookimpl
    def flush_sink(self) -> None:
        self._started.write()

    @hookimpl
    def close_sink(self) -> None:
        writer, self._writer = self._started, None
        writer.close()

    @hookimpl
    def recorded_requests(self, query: RecordQuery) -> Iterable[RecordedRequest]:
        return reading.recorded(self.file, query)

    @property
    def _started(self) -> Writer:
        if self._writer is None:
            raise RuntimeError("start_sink has not been called")
        return self._writer
