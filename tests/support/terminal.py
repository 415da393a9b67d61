"""The `pointsman` command on a terminal of its own, so many columns wide."""

import fcntl
import os
import pty
import struct
import termios
import unicodedata
from pathlib import Path

from click import unstyle

from tests.support import warm
from tests.support.command import LIMIT, environment


def on_a_terminal(*words: str, columns: int, cwd: Path, typed: str = "", **variables: str) -> str:
    """What a person sees, styles and what is `typed` included."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    plain = {name: value for name, value in environment(**variables).items() if name not in {"COLUMNS", "LINES"}}
    said = b""
    os.write(ours, typed.encode())
    process = warm.start(["-m", "pointsman", *words], (theirs, theirs, theirs), cwd=cwd, env=plain)
    os.close(theirs)
    while piece := _read(ours):
        said += piece
    process.wait(LIMIT)
    os.close(ours)
    return said.decode().replace("\r\n", "\n")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:  # the terminal's other end is closed
        return b""


def columns_of(line: str) -> int:
    """How wide a terminal shows it: emoji and most of East Asia's characters are two columns."""
    plain = (one for one in unstyle(line) if not unicodedata.combining(one))
    return sum(2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in plain)
