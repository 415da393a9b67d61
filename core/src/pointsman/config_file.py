"""A configuration file that may change while the program runs, whoever writes it and however.

Looks at the file's place, size and times a few times a second. That also sees another file moved over it, a symbolic
link that leads elsewhere now (as Kubernetes changes a mounted file), and that it may be read now. A change is acted on
once it has been the same at two looks, so that a file is not read while somebody writes it.
"""

import os
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from .loading import from_toml
from .per_process import PerProcess
from .snapshot import Snapshot

if TYPE_CHECKING:
    from .router import Router

LOOK_EVERY = 0.2
"""Seconds. A change is acted on at the second look at the latest after it has settled."""

Look: TypeAlias = tuple[int, ...] | None
"""What tells one state of a file from another; None where there is no file."""


def look_at(path: Path) -> Look:
    """The file's present state, symbolic links followed."""
    try:
        found = os.stat(path)  # noqa: PTH116 - the same thing without a copy
    except OSError:
        return None
    # The last one also tells of other permissions, and of other content under the old time, as `cp -p` leaves it.
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


class ConfigFile:
    """The file of one router."""

    def __init__(self, path: Path, *, watched: bool) -> None:
        self.path = path
        self.lock = PerProcess(threading.RLock)
        """Held while it is read and put to use, so that what is in use is what was read last.

        Reentrant, so that a signal handler may reload while the main thread does.
        """
        self._absolute = path.absolute()
        self._seen: Look = None
        """Its state when it was read last."""
        self._watched = watched
        self._watch: Watch | None = None

    def read(self, earlier: Snapshot | None = None) -> Snapshot:
        """What it says now. Raises `ConfigError` with every problem."""
        self._seen = look_at(self._absolute)  # before it is read: what is written meanwhile is seen as another change
        return from_toml(self.path if earlier is None else self._absolute, earlier)

    def watch(self, router: "Router") -> None:
        """Has the router read it again when it changes, from now on. Costs nothing when that is so already."""
        if self._watched and (self._watch is None or not self._watch.is_alive):
            with self.lock.here():
                if self._watch is None or not self._watch.is_alive:
                    self._watch = Watch(self._absolute, self._seen, weakref.ref(router))

    def stop(self) -> None:
        """Watches it no more."""
        self._watched = False
        if self._watch is not None:
            self._watch.stop()


class Watch:
    """A thread of its own that looks at a file, and has a router reload it when it is another one than it was."""

    def __init__(self, path: Path, known: Look, router: "weakref.ref[Router]") -> None:
        """`known` is the state that was read last. The router is not kept alive; without it the watch ends."""
        self._path = path
        self._known = known
        self._router = router
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="pointsman-watch", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether it goes on. In a forked child it does not: threads are not forked."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Ends the thread, now or at its next look."""
        self._stop.set()
        if self._thread is not threading.current_thread():
            self._thread.join(LOOK_EVERY)

    def _work(self) -> None:
        last = self._known
        while not self._stop.wait(LOOK_EVERY):
            now = look_at(self._path)
            router = self._router()
            if router is None:
                return
            if now != self._known and now == last:
                self._known = now
                router.reload_when_changed()
            last = now
            del router
