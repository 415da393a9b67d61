"""The processes: the servers on one core, the contestants on another, one command at a time."""

import asyncio
import json
import os
import resource
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import contestants
from contestants import PROCESSES, Contestant, NotInstalled

from dev import clean_environ

CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
CLIENT, SERVER = (CORES[0], CORES[-1]) if CORES else (None, None)
CORES_SAID = (
    "clients on one of them, the server on another"
    if CLIENT != SERVER
    else "the server on the same as the clients, so compare CPU times alone"
    if CORES
    else "nobody bound to one"
)
PIPE = asyncio.subprocess.PIPE

NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log stderr crit;
events {{ worker_connections 15000; }}
http {{
  access_log off; keepalive_timeout 1h; keepalive_requests 1000000000; tcp_nodelay on;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  open_file_cache max=10 inactive=1h;
  server {{
    listen 127.0.0.1:{port} backlog=10000; root {folder}; default_type application/json;
    location /fail/ {{ return 503 '{failed}'; }}
    location /whole/ {{ error_page 405 =200 /answer.json; return 405; }}
    location /stream/ {{ error_page 405 =200 /answer.sse; return 405; }}
    location = /answer.json {{ }}
    location = /answer.sse {{ default_type text/event-stream; }}
  }}
}}
"""


def pin(core: int | None) -> None:
    """Binds this process to a core, where the system lets us choose it, and lets it open as many files as it may."""
    if core is not None:
        os.sched_setaffinity(0, {core})
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # where what it may is no number
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def environment() -> dict[str, str]:
    """Everybody's modules are compiled once, wherever they stand, and also where the system says not to keep that."""
    ours = clean_environ()
    ours.pop("PYTHONDONTWRITEBYTECODE", None)
    return ours | {"PYTHONPYCACHEPREFIX": str(contestants.ENVIRONMENTS / "bytecode")}


@asynccontextmanager
async def process(*command: str, core: int | None) -> AsyncGenerator[asyncio.subprocess.Process, None]:
    """A process on one core, which is killed at the end."""
    started = await asyncio.create_subprocess_exec(
        *command, stdin=PIPE, stdout=PIPE, limit=1 << 24, preexec_fn=partial(pin, core), env=environment()
    )
    try:
        yield started
    finally:
        with suppress(ProcessLookupError):
            started.terminate()
        with suppress(TimeoutError):
            await asyncio.wait_for(started.wait(), 5)
        if started.returncode is None:
            started.kill()
            await started.wait()


@asynccontextmanager
async def upstream(*, offline: bool) -> AsyncGenerator[tuple[str, str], None]:
    """Our own server's address; it answers every path."""
    try:
        python, what = (
            await contestants.python_of("upstream", contestants.UPSTREAM, offline=offline),
            "asyncio on uvloop",
        )
    except NotInstalled:
        python, what = sys.executable, "asyncio"
    async with process(python, str(PROCESSES / "upstream.py"), core=SERVER) as server:
        port = await asyncio.wait_for(server.stdout.readline(), 20)
        yield f"http://127.0.0.1:{int(port)}", what


@asynccontextmanager
async def nginx(files: dict[str, bytes], failed: bytes) -> AsyncGenerator[str | None, None]:
    """The address of an nginx that answers /whole, /stream and /fail; None where there is none."""
    found = shutil.which("nginx")
    if found is None:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
        os.chmod(folder, 0o755)  # noqa: PTH101 - its worker may be somebody else
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        settings = Path(folder) / "nginx.conf"
        settings.write_text(NGINX.format(folder=folder, port=port, failed=failed.decode()))
        async with process(found, "-p", folder, "-c", str(settings), core=SERVER) as server:
            for _ in range(100):
                with suppress(OSError):
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                await asyncio.sleep(0.05)
            yield f"http://127.0.0.1:{port}" if server.returncode is None else None


class Worker:
    """A contestant's process, which takes commands."""

    def __init__(self, contestant: Contestant, python: str) -> None:
        self.contestant = contestant
        self.python = python
        self.versions: dict[str, str] = {}
        self.failed = ""
        """Why it cannot go on."""

    @asynccontextmanager
    async def running(self) -> "AsyncGenerator[Worker, None]":
        """The process, until the end of the block."""
        self.failed = ""
        async with process(*self._command(), core=CLIENT) as self._process:
            if "error" not in (told := await self._told(60)):
                self.versions = told["versions"]
            yield self

    def _command(self, *arguments: str) -> tuple[str, ...]:
        return (self.python, str(PROCESSES / self.contestant.script), *arguments)

    async def ask(self, limit: float, **command: Any) -> dict[str, Any]:
        """What it answers within so many seconds, or an `error`; after a silence it is not asked again."""
        if self.failed:
            return {"error": self.failed}
        with suppress(ConnectionError):
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            await self._process.stdin.drain()
        return await self._told(limit)

    async def _told(self, limit: float) -> dict[str, Any]:
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), limit)
        except TimeoutError:
            line, self.failed = b"", f"did not answer within {limit:.0f} s"
            self._process.kill()
        if not line:
            self.failed = self.failed or "its process ended"
            return {"error": self.failed}
        return json.loads(line)

    async def first(self, base: str) -> dict[str, Any]:
        """What one request in a process of its own takes, from the start to its answer."""
        began = time.perf_counter()
        async with process(*self._command("--first", base), core=CLIENT) as self._process:
            told = await self._told(60)
            wall = time.perf_counter() - began
        return told | {"wall": wall}


async def script(python: str, name: str, *arguments: str, limit: float) -> dict[str, Any]:
    """What a script of ours prints, as JSON."""
    async with process(python, str(PROCESSES / name), *arguments, core=CLIENT) as started:
        try:
            out, _ = await asyncio.wait_for(started.communicate(), limit)
        except TimeoutError:
            return {"error": f"did not end within {limit:.0f} s"}
    return json.loads(out) if out else {"error": "it failed"}
