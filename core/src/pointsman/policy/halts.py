"""Paths that a guard has halted, and the file in which processes tell each other and a restarted one finds them.

Each line of the file is a JSON object: that a path of a rollout was halted, or resumed. The last line about a path
holds. Lines are only ever added, in one write each, so that processes do not undo each other's and a person can
read what happened.
"""

import json
import os
from collections.abc import Mapping
from errno import ENOSPC
from pathlib import Path
from typing import Any, NamedTuple, cast

from attrs import frozen


class Way(NamedTuple):
    """A path of a rollout."""

    rollout: str
    path: str


@frozen(kw_only=True)
class Halt:
    """That a path is halted, since when and why."""

    way: Way
    control: str
    """The path that everyone takes instead."""
    time: float
    """Wall clock, seconds since the epoch."""
    why: str


class HaltFile:
    """The file of one guard. Methods raise `OSError` where it cannot be read or written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int] | None = None
        """Size and time of change at the last reading."""

    def has_changed(self) -> bool:
        """Whether somebody has written to it since it was read here. A file that is gone says nothing new."""
        return self._look() not in (None, self._seen)

    def read(self) -> dict[Way, Halt]:
        """What is halted. Raises `ValueError`, to be read, for what nobody here has written."""
        self._seen = self._look()
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise ValueError(f"file: {self.path} cannot be read: {why}; name a file for halts alone") from None
        halts: dict[Way, Halt] = {}
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            way, halt = self._parsed(line, number)
            if halt is None:
                halts.pop(way, None)
            else:
                halts[way] = halt
        return halts

    def add(self, halt: Halt) -> None:
        """Tells everyone that a path is halted."""
        self._append(
            {
                "event": "halted",
                "time": halt.time,
                "rollout": halt.way.rollout,
                "path": halt.way.path,
                "control": halt.control,
                "why": halt.why,
            }
        )

    def remove(self, way: Way, time: float) -> None:
        """Tells everyone that a path is resumed."""
        self._append({"event": "resumed", "time": time, "rollout": way.rollout, "path": way.path})

    def _append(self, entry: Mapping[str, object]) -> None:
        line = (json.dumps(entry) + "\n").encode()
        with self.path.open("ab", buffering=0) as file:
            written = file.write(line)
            if written < len(line):
                # On a full disk. Half a line would be in the way of every later start.
                file.truncate(file.tell() - written)
                raise OSError(ENOSPC, os.strerror(ENOSPC), str(self.path))

    def _parsed(self, line: str, number: int) -> tuple[Way, Halt | None]:
        try:
            entry = cast("dict[str, Any]", json.loads(line))
            way = Way(str(entry["rollout"]), str(entry["path"]))
            if entry["event"] == "resumed":
                return way, None
            return way, Halt(way=way, control=str(entry["control"]), time=float(entry["time"]), why=str(entry["why"]))
        except (ValueError, KeyError, TypeError):
            message = f"file: line {number} of {self.path} says neither that a path is halted nor resumed; remove it"
            raise ValueError(message) from None

    def _look(self) -> tuple[int, int] | None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_size, found.st_mtime_ns
