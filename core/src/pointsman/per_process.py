"""State that a fork does not share: each process begins its own."""

import os
from collections.abc import Callable
from functools import cache
from typing import Generic, TypeVar

T = TypeVar("T")


@cache
def process_id() -> int:
    """This process's id. The system is asked once in each process: a call of it takes as long as many of Python's."""
    _watch_forks()
    return os.getpid()


@cache
def _watch_forks() -> None:
    """Has a forked child ask anew. Not when this is imported, which has no effects."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=process_id.cache_clear)


class PerProcess(Generic[T]):
    """A value made anew in each process that asks for it.

    Looked up by process id, before any lock of the value's own: that may have been held when the process forked.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        # Before anybody else registers what uses this one after a fork: who registers first is called first.
        _watch_forks()
        self._make = make
        self._by_process: dict[int, T] = {}

    def here(self) -> T:
        """This process's value."""
        found = self._by_process.get(process_id())
        if found is None:
            found = self._by_process.setdefault(process_id(), self._make())
        return found
