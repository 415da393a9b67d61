"""What every contestant's process does: it reads commands, one JSON object a line, and answers each with one.

A contestant is a module that ends with `worker.main(Client, packages)`. Its `Client(bases)` speaks to the servers at
`bases`, to the second where the first one fails, and has `complete()`, the text of a whole answer, `stream()`, the
pieces of a streamed one, and if it needs it `settle()`, which ends what is still going on behind the answers. They are
coroutines, or plain functions where it is a blocking client. Nothing is closed at the end: the process just ends.

    python contestant.py                reads commands
    python contestant.py --first BASE   makes one request and says what it took
"""

import asyncio
import gc
import inspect
import json
import os
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from traffic import STREAMED, TEXT, WORDS

PAGE = os.sysconf("SC_PAGE_SIZE")


def rss() -> int:
    """Bytes of memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def peak() -> int:
    """Bytes of memory that it had at most."""
    # Not by `resource.getrusage`, which begins with what the parent had.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def check(kind: str, came: object) -> None:
    """The same answer for everybody."""
    if kind == "whole":
        assert came == TEXT, came
    else:
        assert "".join(came) == STREAMED, "".join(came)[:100]
        # The first piece may come with the role, and nothing else may be put together.
        assert len(WORDS) == len(came), len(came)


class Runner:
    """Keeps one client for each list of addresses, so that a second round finds connections open."""

    def __init__(self, client_type) -> None:
        self.client_type = client_type
        self.clients: dict[tuple[str, ...], object] = {}
        self.blocking = not inspect.iscoroutinefunction(client_type.complete)

    def client(self, bases: Sequence[str]):
        key = tuple(bases)
        if key not in self.clients:
            self.clients[key] = self.client_type(list(bases))
        return self.clients[key]

    async def call(self, client, name: str):
        outcome = getattr(client, name, lambda: None)()
        return await outcome if inspect.isawaitable(outcome) else outcome

    async def one(self, kind: str, bases: Sequence[str]) -> None:
        client = self.client(bases)
        check(kind, await self.call(client, "complete" if kind == "whole" else "stream"))
        await self.call(client, "settle")

    async def run(self, *, kind: str, bases: Sequence[str], in_flight: int, requests: int, seconds: float, warm: int):
        """Requests, `in_flight` at a time, until so many are done or so many seconds have passed."""
        client = self.client(bases)
        method = client.complete if kind == "whole" else client.stream
        await self.several(kind, method, in_flight, warm, float("inf"))
        await self.call(client, "settle")
        gc.collect()
        before = rss()
        wall, cpu = time.perf_counter(), time.process_time()
        done = await self.several(kind, method, in_flight, requests, seconds)
        # What is told to sinks and logs belongs to the request.
        await self.call(client, "settle")
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        gc.collect()
        return {"requests": done, "wall": wall, "cpu": cpu, "before": before, "after": rss(), "peak": peak()}

    async def several(self, kind: str, method, in_flight: int, requests: int, seconds: float) -> int:
        left, until = iter(range(requests)), time.perf_counter() + seconds
        done = 0

        async def one_after_the_other() -> None:
            nonlocal done
            while time.perf_counter() < until and next(left, None) is not None:
                check(kind, await method())
                done += 1

        if self.blocking:
            for _ in left:
                if time.perf_counter() >= until:
                    break
                check(kind, method())
                done += 1
        elif in_flight == 1:
            await one_after_the_other()
        else:
            await asyncio.gather(*(one_after_the_other() for _ in range(min(in_flight, requests))))
        return done


def in_loop(blocking: bool, coroutine):  # noqa: FBT001 - of one place
    """Runs it: in an event loop, or where the client blocks and refuses one, by hand; nothing in it waits then."""
    if not blocking:
        return asyncio.run(coroutine)
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("a blocking client waited for something")


async def commands(runner: Runner) -> None:
    # Between two commands the loop stands still, so that nobody works while another is measured.
    for line in sys.stdin:
        told = json.loads(line)
        try:
            answer = await (runner.one if told.pop("do") == "one" else runner.run)(**told)
        except Exception as error:  # noqa: BLE001 - it is told
            answer = {"error": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(answer), flush=True)


def main(client_type, packages: Sequence[str]) -> None:
    """The contestant's process."""
    runner = Runner(client_type)
    if sys.argv[1:2] == ["--first"]:
        in_loop(runner.blocking, runner.one("whole", sys.argv[2:]))
        print(json.dumps({"cpu": time.process_time(), "peak": peak()}), flush=True)
    else:
        print(json.dumps({"versions": {name: version(name) for name in packages}}), flush=True)
        in_loop(runner.blocking, commands(runner))
    os._exit(0)
