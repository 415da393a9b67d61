"""Another process in milliseconds: a Python that has imported what commands need, and forks for each of them.

What it runs has a process, streams, a folder and variables of its own, as it would have from `subprocess`, and ends as
Python does. It is not spared a cold start for a claim about one: about imports, warnings, `PYTHONHASHSEED`.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from threading import Lock
from types import ModuleType

from attrs import define, field, frozen

from pointsman_openai_compatible.aiohttp_way import tls_context

POSSIBLE = hasattr(os, "fork")

_IMPORTED = (
    "aiohttp",
    "concurrent.futures.thread",
    "importlib.metadata",
    "pointsman.cli.ask",
    "pointsman.cli.demo",
    "pointsman.testing",
    "pointsman_litellm_backend",
    "pointsman_metrics_stdout",
    "pointsman_openai_compatible",
    "pointsman_openrouter_direct",
)
"""Not `pointsman.cli.app`, which reads NO_COLOR when it is imported."""

Streams = tuple[int, int, int]
"""Descriptors of standard input, output and error."""


# On this side


@define(eq=False)
class Process:
    """A process that was forked."""

    _told: socket.socket
    pid: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.pid = int(_line(self._told))

    def wait(self, timeout: float) -> int:
        """Its exit status, negative for a signal. Raises `TimeoutError`, once it is killed, where it takes longer."""
        with self._told:
            self._told.settimeout(timeout)
            try:
                return int(_line(self._told))
            except TimeoutError:
                os.kill(self.pid, signal.SIGKILL)
                raise


def start(words: Sequence[str], streams: Streams, *, cwd: Path | None, env: Mapping[str, str]) -> Process:
    """Runs Python with these words, which begin with `-m`, `-c` or a script."""
    ours, theirs = socket.socketpair()
    program = json.dumps({"words": list(words), "cwd": str(cwd or Path.cwd()), "env": dict(env)})
    with theirs, _sending:
        socket.send_fds(_forking(), [f"{program}\n".encode()], [theirs.fileno(), *streams])
    return Process(ours)


_sending = Lock()


@cache
def _forking() -> socket.socket:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", __file__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            process_group=0,  # an interrupt from the keyboard is not for it
        )

    @atexit.register
    def end() -> None:
        ours.close()
        process.wait()

    return ours


def _line(told: socket.socket) -> bytes:
    read = b""
    while not read.endswith(b"\n"):
        read += (piece := told.recv(4096))
        assert piece, "the process that was to tell it is gone"
    return read


# On the other side


@frozen
class _Program:
    words: Sequence[str]
    cwd: str
    env: Mapping[str, str]

    def run(self, streams: Sequence[int]) -> None:
        os.chdir(self.cwd)
        os.environ.clear()
        os.environ.update(self.env)
        encoding, _, errors = self.env.get("PYTHONIOENCODING", "utf-8").partition(":")
        for standard, descriptor in enumerate(streams):
            os.dup2(descriptor, standard)
            os.close(descriptor)
        for standard, name in enumerate(("stdin", "stdout", "stderr")):
            stream = open(  # noqa: SIM115 - a descriptor, and never closed
                standard,
                "r" if standard == 0 else "w",
                buffering=1 if standard == 2 or os.isatty(standard) else -1,
                encoding=encoding,
                errors="backslashreplace" if standard == 2 else errors or "strict",
                closefd=False,
            )
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
        self._execute(*self.words)

    def _execute(self, first: str, *rest: str) -> None:
        sys.path[1:1] = filter(None, self.env.get("PYTHONPATH", "").split(os.pathsep))
        if first == "-m":
            sys.path[0], sys.argv = self.cwd, list(rest)
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
            return
        source, name = (rest[0], "<string>") if first == "-c" else (Path(first).read_text("utf-8"), first)
        sys.path[0], sys.argv = ("", ["-c", *rest[1:]]) if first == "-c" else (str(Path(first).parent), [first, *rest])
        main = sys.modules["__main__"] = ModuleType("__main__")
        if first != "-c":
            main.__file__ = first
        exec(compile(source, name, "exec"), main.__dict__)


def _serve(control: socket.socket) -> tuple[_Program, Sequence[int]] | None:
    """In the end None; in each fork, what is to be run there."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait
    while request := _received(control):
        text, (told, *streams) = request
        if os.fork() == 0:
            # A process for each that waits, because several may run at once.
            control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            if (pid := os.fork()) == 0:
                os.close(told)
                return _Program(**json.loads(text)), streams
            for one in streams:
                os.close(one)
            os.write(told, f"{pid}\n".encode())
            _, status = os.waitpid(pid, 0)
            os.write(told, f"{os.waitstatus_to_exitcode(status)}\n".encode())
            os._exit(0)
        for one in (told, *streams):
            os.close(one)
    return None


def _received(control: socket.socket) -> tuple[bytes, list[int]] | None:
    text, descriptors = b"", list[int]()
    while not text.endswith(b"\n"):
        piece, more, _, _ = socket.recv_fds(control, 65536, 4)
        if not piece:
            return None
        text += piece
        descriptors += more
    return text, descriptors


if __name__ == "__main__":
    for module in _IMPORTED:
        importlib.import_module(module)
    # The certificates of all the world are read once, and not by each command.
    tls_context(None)
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as control:
        forked = _serve(control)
    if forked:
        program, streams = forked
        program.run(streams)
