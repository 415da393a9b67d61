"""The plugin that keeps requests, for the commands that read them."""

from collections.abc import Iterator

from pointsman.hooks import Hooks
from pointsman.records import RecordedRequest, RecordQuery

from .output import wrong_use

REMEDY = """\
no plugin of {config} keeps requests. To have them kept from now on:
  pip install pointsman-metrics-sqlite
and name it in the configuration:
  [plugins.metrics_sqlite]"""


def recorded(hooks: Hooks, config: str, query: RecordQuery, keeper: str | None) -> Iterator[RecordedRequest]:
    """What a plugin has kept, the oldest first; without the name of a `keeper`, the only one that there is.

    Raises `RecordsUnavailable`.
    """
    keepers = {sink.name: sink.recorded for sink in hooks.sinks if sink.recorded is not None}
    if not keepers:
        wrong_use(REMEDY.format(config=config))
    if keeper is None and len(keepers) > 1:
        wrong_use(f"several plugins keep requests: {', '.join(keepers)}; --from says which one to ask")
    chosen = keepers.get(keeper) if keeper is not None else next(iter(keepers.values()))
    if chosen is None:
        wrong_use(f"--from {keeper}: no such plugin keeps requests; these do: {', '.join(keepers)}")
    yield from chosen(query)
