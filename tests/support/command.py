"""The `pointsman` command, run as a user runs it: another process, its two streams and its exit status."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen


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
    *words: str | Path, cwd: Path | None = None, typed: str = "", variables: Mapping[str, str] | None = None
) -> Ran:
    """Runs Python with these words, such as `-m pointsman demo`; `typed` is its standard input."""
    done = subprocess.run(
        arguments(*words),
        input=typed,
        capture_output=True,
        encoding="utf-8",
        timeout=30,
        check=False,
        cwd=cwd,
        env=environment(**(variables or {})),
    )
    return Ran(status=done.returncode, out=done.stdout, err=done.stderr)


def onto_a_full_disk(
    *words: str | Path, cwd: Path | None = None, variables: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Status and standard error of `pointsman` with these words, where standard output takes nothing."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            arguments("-m", "pointsman", *words),
            stdin=subprocess.DEVNULL,
            stdout=full,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            timeout=30,
            check=False,
            cwd=cwd,
            env=environment(**(variables or {})),
        )
    return done.returncode, done.stderr


def pointsman(
    *words: str | Path, cwd: Path | None = None, typed: str = "", variables: Mapping[str, str] | None = None
) -> Ran:
    """Runs `pointsman` with these words."""
    return run("-m", "pointsman", *words, cwd=cwd, typed=typed, variables=variables)
