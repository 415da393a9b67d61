"""Configurations that are in use: the current one, and those that earlier requests began with.

A request keeps the snapshot that it began with. What a new configuration has no use for is let go after the last
request that may use it.
"""

import threading
from collections.abc import Callable

from .hooks import Backend, Sink
from .per_process import PerProcess
from .snapshot import Snapshot


class Generation:
    """One configuration, with the requests that began with it and have not ended."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.requests: set[object] = set()


class Generations:
    """Which configuration a request begins with, and when one is over.

    Beginning and ending a request takes no lock: adding to a set and taking from it are atomic.
    """

    def __init__(self, snapshot: Snapshot, let_go: Callable[[list[Backend], list[Sink]], None]) -> None:
        """`let_go` is told what no configuration in use has any more."""
        self.current = Generation(snapshot)
        self._earlier: list[Generation] = []
        self._let_go = let_go
        self._lock = PerProcess(threading.Lock)

    def begin(self, request: object) -> Generation:
        """The configuration for a request that begins now; `end` it with the same object."""
        while True:
            generation = self.current
            generation.requests.add(request)
            # Looked at again after the entry: whoever replaced it in between has seen the entry, or this sees that.
            if generation is self.current:
                return generation
            self.end(generation, request)

    def end(self, generation: Generation, request: object) -> None:
        """The request is over."""
        generation.requests.discard(request)
        if generation is not self.current and not generation.requests:
            self._tidy()

    def replace(self, snapshot: Snapshot) -> None:
        """Requests begin with this one from now on."""
        with self._lock.here():
            self._earlier.append(self.current)
            self.current = Generation(snapshot)
        self._tidy()

    def _tidy(self) -> None:
        """Lets go of what only configurations without requests had."""
        with self._lock.here():
            over = [one for one in self._earlier if not one.requests]
            self._earlier = [one for one in self._earlier if one.requests]
            used = [one.snapshot.hooks for one in (*self._earlier, self.current)]
            backends = {backend for hooks in used for backend in hooks.backends.values()}
            sinks = [sink for hooks in used for sink in hooks.sinks]
            gone = [one.snapshot.hooks for one in over]
            unused_backends = {one for hooks in gone for one in hooks.backends.values() if one not in backends}
            unused_sinks = [one for hooks in gone for one in hooks.sinks if one not in sinks]
        if unused_backends or unused_sinks:
            self._let_go(list(unused_backends), unused_sinks)
