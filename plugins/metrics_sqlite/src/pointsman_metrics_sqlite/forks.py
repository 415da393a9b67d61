"""A fork copies SQLite's notes of the locks that its process holds, and not the locks.

With a connection open at that moment, the child would think that it holds locks which it does not, and its parent could
delete the write-ahead log under it. So whoever forks closes its connections first, and opens them again after it.
"""

import os
import threading
from typing import Protocol


class Parting(Protocol):
    """Who has a connection open."""

    def before_fork(self) -> None:
        """Closes it."""

    def after_fork(self) -> None:
        """In the parent: may open it again."""


_lock = threading.Lock()
_open: list[Parting] = []
"""Of this process. The hooks of a fork can never be taken back, so they are two, and look here."""


def part_at_fork(one: Parting) -> None:
    """From now on this one is told of every fork."""
    with _lock:
        _open.append(one)


def forget(one: Parting) -> None:
    """No longer; in a forked child its parent's are forgotten already."""
    with _lock:
        if one in _open:
            _open.remove(one)


def _before() -> None:
    _lock.acquire()
    for one in _open:
        one.before_fork()


def _after_in_parent() -> None:
    for one in _open:
        one.after_fork()
    _lock.release()


def _after_in_child() -> None:
    _open.clear()
    _lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
