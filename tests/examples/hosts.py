"""Host applications, run as their users run them: processes of their own, asked, signalled and waited for."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest
from attrs import define, field

from pointsman.testing import ScriptedServer
from tests.support.command import environment

if sys.platform == "win32":
    pytest.skip("hosts are signalled, and some of them fork", allow_module_level=True)

EXAMPLE = Path(__file__).parents[2] / "examples" / "hosts"

PATIENCE = 15.0
"""Seconds that a host may take to begin. It ends far sooner, see `ENDING`."""
ENDING = 8.0
"""Seconds that a host may take to end once it was told to."""


def example(folder: Path, server: ScriptedServer) -> Path:
    """A copy of the example whose OpenRouter is this server."""
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__"))
    file = folder / "pointsman.toml"
    table = "[plugins.openrouter_direct]\n"
    text = file.read_text("utf-8")
    assert text.count(table) == 1
    file.write_text(text.replace(table, f'{table}base_url = "{server.url}/api/v1"\n'), "utf-8")
    return folder


def variables() -> dict[str, str]:
    """What a host finds in its environment."""
    return environment(OPENROUTER_API_KEY="sk-2222")


@define
class Told:
    """What the sink wrote, on lines of its own among a host's other words."""

    lines: list[str]

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines if line.startswith('{"event"')]

    @property
    def words(self) -> list[str]:
        """Everything else."""
        return [line for line in self.lines if not line.startswith('{"event"')]

    def outcomes(self, event: str = "request_finished") -> Counter[str]:
        return Counter(one["outcome"] for one in self.events if one["event"] == event)

    def assert_whole(self) -> None:
        """Whatever began has ended, and once."""
        for what in ("request", "attempt"):
            begun, ended = self._counted(f"{what}_started"), self._counted(f"{what}_finished")
            assert begun == ended
            assert set(begun.values()) <= {1}

    def _counted(self, event: str) -> Counter[tuple[str, int | None]]:
        return Counter((one["request_id"], one.get("number")) for one in self.events if one["event"] == event)


@define(eq=False)
class Host:
    """One that runs."""

    process: subprocess.Popen[str]
    told: Told = field(factory=lambda: Told([]))
    """Its standard error, so far."""
    out: list[str] = field(factory=list)
    """The lines of its standard output, so far."""
    _changed: threading.Condition = field(factory=threading.Condition, init=False)
    _readers: list[threading.Thread] = field(factory=list, init=False)

    @classmethod
    @contextmanager
    def running(cls, *words: str | Path, cwd: Path) -> Iterator[Self]:
        """Runs Python with these words; whatever is left of it at the end is killed."""
        process = subprocess.Popen(
            [sys.executable, "-W", "error", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            bufsize=1,
            cwd=cwd,
            env=variables(),
            start_new_session=True,
        )
        host = cls(process)
        host._read(process.stdout, host.out)
        host._read(process.stderr, host.told.lines)
        try:
            yield host
        finally:
            if host.has_something_running:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for reader in host._readers:
                reader.join()
            for pipe in (process.stdin, process.stdout, process.stderr):
                assert pipe is not None
                pipe.close()

    def _read(self, pipe: Any, into: list[str]) -> None:
        def read() -> None:
            for line in pipe:
                with self._changed:
                    into.append(line.removesuffix("\n"))
                    self._changed.notify_all()

        reader = threading.Thread(target=read)
        reader.start()
        self._readers.append(reader)

    def says(self, pattern: str) -> re.Match[str]:
        """Waits until a line of its standard error matches."""
        found: list[re.Match[str]] = []

        def said() -> bool:
            found.extend(match for line in self.told.lines if (match := re.search(pattern, line)))
            return bool(found) or self.process.poll() is not None

        with self._changed:
            self._changed.wait_for(said, PATIENCE)
        assert found, "\n".join(self.told.lines)
        return found[0]

    def ask(self, *questions: str) -> None:
        """Types lines."""
        assert self.process.stdin is not None
        for question in questions:
            self.process.stdin.write(f"{question}\n")
        self.process.stdin.flush()

    def answers(self, count: int) -> list[str]:
        """Waits until so many lines were answered."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.out) >= count, PATIENCE), self.told.lines
        return list(self.out)

    def finish(self) -> int:
        """Types no more, and waits for the end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.wait()

    def signalled(self, number: signal.Signals, *, everyone: bool = False) -> int:
        """Signals the process, or with `everyone` also its children, as a terminal does, and waits for the end."""
        if everyone:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Its exit status, in time, when nothing of it is left."""
        status = self.process.wait(ENDING)
        for reader in self._readers:
            reader.join(ENDING)
        assert not self.has_something_running
        return status

    @property
    def has_something_running(self) -> bool:
        """Whether it or a child of its lives."""
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return False
        return True
