"""The `pointsman` command, run as a user runs it: another process, its two streams and its exit status."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from attrs import frozen

from tests.support import warm

LIMIT = 30
"""Seconds that a command may take."""


@frozen(kw_only=True)
class Ran:
    """What came of a command."""

    status: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as the one JSON document that it is."""
        return json.loads(self.out)


def environment(**variables: str) -> dict[str, str]:
    """This process's variables, but for a terminal of 80 columns without colours, and with these."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("POINTSMAN")}
    return plain | {"COLUMNS": "80", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"} | variables


def arguments(*words: str | Path) -> list[str]:
    """A command line of Python's that treats every warning as an error."""
    return [sys.executable, "-W", "error", *map(str, words)]


def run(
    *words: str | Path,
    cwd: Path | None = None,
    typed: str = "",
    variables: Mapping[str, str] | None = None,
    cold: bool = not warm.POSSIBLE,
) -> Ran:
    """Runs Python with these words, such as `-m pointsman demo`; `typed` is its standard input.

    A `cold` one is started, and has imported nothing; any other is a `warm` one, which is there at once.
    """
    with TemporaryFile() as given, TemporaryFile() as out, TemporaryFile() as err:
        given.write(typed.encode())
        given.seek(0)
        status = _status_of(words, (given, out, err), cwd, environment(**(variables or {})), cold=cold)
        return Ran(status=status, out=_text(out), err=_text(err))


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode().replace(os.linesep, "\n")


def _status_of(
    words: Sequence[str | Path], files: tuple[Any, Any, Any], cwd: Path | None, env: dict[str, str], *, cold: bool
) -> int:
    if cold:
        given, out, err = files
        return subprocess.call(arguments(*words), stdin=given, stdout=out, stderr=err, timeout=LIMIT, cwd=cwd, env=env)
    given, out, err = (file.fileno() for file in files)
    return warm.start([*map(str, words)], (given, out, err), cwd=cwd, env=env).wait(LIMIT)


def onto_a_full_disk(
    *words: str | Path, cwd: Path | None = None, variables: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Status and standard error of `pointsman` with these words, where standard output takes nothing."""
    with Path(os.devnull).open() as given, Path("/dev/full").open("w") as full, TemporaryFile() as err:
        files, env = (given, full, err), environment(**(variables or {}))
        status = _status_of(("-m", "pointsman", *words), files, cwd, env, cold=not warm.POSSIBLE)
        return status, _text(err)


def pointsman(
    *words: str | Path, cwd: Path | None = None, typed: str = "", variables: Mapping[str, str] | None = None
) -> Ran:
    """Runs `pointsman` with these words."""
    return run("-m", "pointsman", *words, cwd=cwd, typed=typed, variables=variables)
