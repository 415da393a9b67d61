"""The `pointsman` command. Needs the extra `[cli]`: click and rich."""

import gc
import io
import os
import sys


def main() -> None:
    """Runs the command; says how to get it where its extra is missing."""
    # What start-up makes stays; to look through it again and again would be a tenth of a short command's time.
    gc.set_threshold(50_000, 20, 20)
    try:
        from .app import app  # noqa: PLC0415 - click is there only with the extra
    except ModuleNotFoundError as error:
        if error.name not in {"click", "rich"}:
            raise
        sys.exit('pointsman: the command needs its extra; install it with\n  pip install "pointsman[cli]"')
    # With rich installed, httpx loads a command line of its own, which is a tenth of the time of `explain`, and nobody
    # here calls it. Where that cannot be imported, httpx does without.
    sys.modules.setdefault("httpx._main", None)  # pyright: ignore[reportArgumentType] - what Python documents for that
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A character that cannot be read or shown must not cost the others.
            stream.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="pointsman")
    except OSError as error:
        _forget_what_is_unwritten()
        sys.exit(f"pointsman: {error.strerror or error}")


def _forget_what_is_unwritten() -> None:
    """Where stdout cannot be written, on a full disk say, Python would try once more at the end, and complain."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
