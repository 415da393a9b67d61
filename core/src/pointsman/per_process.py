"""State that a fork does not share: each process begins its own."""

import os
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class PerProcess(Generic[T]):
    """A value made anew in each process that asks for it.

    Looked up by process id, before any lock of the value's own: that may have been held when the process forked.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._by_process: dict[int, T] = {}

    def here(self) -> T:
        """This process's value."""
        return self.of(os.getpid())

    def of(self, process: int) -> T:
        """The value of the process that has this id, which is this process: for who has asked for it already."""
        found = self._by_process.get(process)
        if found is None:
            found = self._by_process.setdefault(process, self._make())
        return found
