"""Whether a long day leaves anything behind: memory, descriptors, tasks and threads, with faults and cancellations.

    python benchmarks/soak.py [--requests 200000]

One router with every built-in rule on, two `openai_compatible` backends and one sink; a scripted server in a process of
its own. 64 requests are in flight; a third is streamed. Of the HTTP requests 5 % fail: a 500, a connection dropped
before or amid the answer, garbage, an answer that comes too late. Of the callers 1 % give up. The requests come in
rounds; after each, when nothing is in flight, a sample is taken and printed. The first tenth warms up; what comes later
must stay flat, else this exits with 1:

- memory: the mean of the last quarter's samples at most 4 MiB above that of the first after the warm-up. A hundred
  bytes lost with each of 200,000 requests would be 13 MiB in between; an allocator alone moves by less than one.
- descriptors: at most one for each request in flight and backend above the first sample, because that many connections
  may be kept open for later. One lost with each fault would be thousands.
- tasks and threads: no more than after the warm-up.
"""

import argparse
import asyncio
import gc
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from attrs import define, field, frozen

from pointsman import MetricEmission, RequestFinished, RouteError, Router, hookimpl
from pointsman.events import AttemptFinished, CircuitChanged

IN_FLIGHT = 64
ROUNDS = 20
"""At most, and 500 requests in each at least: every round ends with a wait for the latest."""
FAULTS = 0.05
CANCELLED = 0.01
STREAMED = 1 / 3
MIB = 1 << 20
MEMORY_MAY_GROW = 4 * MIB
BACKENDS = ("one", "two")

WORDS = [f"word{number} " for number in range(12)]
TEXT = "".join(WORDS)


@define(eq=False)
class Counting(MetricEmission):
    """Counts how requests and attempts ended, and what the circuits did."""

    requests: Counter[str] = field(factory=Counter)
    attempts: Counter[str] = field(factory=Counter)
    opened: int = 0

    @hookimpl
    def emit_metric(self, event):
        match event:
            case RequestFinished(outcome=outcome):
                self.requests[outcome] += 1
            case AttemptFinished(outcome=outcome, failure=failure):
                self.attempts[failure.kind if failure else outcome] += 1
            case CircuitChanged(after="open"):
                self.opened += 1


def config(address: str, sink: Counting) -> dict[str, object]:
    return {
        # A late answer is given up after a second; a circuit opens often, but not for long, so that most is served.
        "router": {"attempt_timeout": 1, "first_token_timeout": 1, "idle_timeout": 1, "deadline": 10, "reserve": 0.5},
        "plugins": {
            **{name: {"use": "openai_compatible", "base_url": f"{address}/{name}"} for name in BACKENDS},
            "breaker": {"failures_in_a_row": 3, "open_for": 0.05, "open_at_most": 0.2},
            "limits": {"concurrency": dict.fromkeys(BACKENDS, IN_FLIGHT)},
            "sink": sink,
        },
        "models": {model: {"on": dict.fromkeys(BACKENDS, f"vendor/{model}")} for model in ("small", "large")},
        "tasks": {"chat": {"models": ["small", "large"]}},
        "paths": {"first": BACKENDS, "second": BACKENDS[::-1]},
        "rollout": {"control": "first", "shares": {"second": 50}},
    }


# The server, in a process of its own.


def answers() -> tuple[bytes, bytes]:
    """A whole one, and a streamed one."""
    usage = {"prompt_tokens": 42, "completion_tokens": len(WORDS), "total_tokens": 42 + len(WORDS)}
    message = {"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}
    body = json.dumps({"id": "1", "object": "chat.completion", "choices": [message], "usage": usage}).encode()
    whole = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)

    def event(delta: dict[str, str], finish: str | None = None, **more: object) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return b"data: %b\n\n" % json.dumps({"id": "1", "choices": [choice]} | more).encode()

    events = [event({"content": word}) for word in WORDS] + [event({}, "stop", usage=usage), b"data: [DONE]\n\n", b""]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return whole, head + b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in events)


async def serve(listener: socket.socket) -> None:
    chance = random.Random(1)
    whole, streamed = answers()
    error = b'{"error": {"message": "out of order", "code": 500}}'
    broken = b"HTTP/1.1 500 X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(error), error)
    garbage = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n<p>no</p>"

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
                answer = streamed if b'"stream":true' in await reader.readexactly(length) else whole
                fault = chance.choice(("500", "drop", "cut", "garbage", "late")) if chance.random() < FAULTS else None
                if fault == "late":
                    await asyncio.sleep(1.5)
                elif fault == "drop":
                    break
                elif fault == "cut":
                    writer.write(answer[: chance.randrange(1, len(answer))])
                    break
                writer.write({"500": broken, "garbage": garbage}.get(fault or "", answer))
                if fault is None and chance.random() < 0.02:
                    # Some take their time, so that who gives up does so in the middle of things.
                    await asyncio.sleep(0.02)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, sock=listener)
    await server.serve_forever()


# The callers.


async def ask(router: Router, number: int, *, streamed: bool) -> str:
    if not streamed:
        completion = await router.acomplete("hello", task="chat", unit=number)
    else:
        async with router.astream("hello", task="chat", unit=number) as stream:
            async for _ in stream:
                pass
        completion = stream.completion
    assert completion is not None
    assert completion.text == TEXT
    return "answered"


async def one(router: Router, number: int, chance: random.Random) -> str:
    """How one request ended, for its caller."""
    streamed, gives_up = chance.random() < STREAMED, chance.random() < CANCELLED
    try:
        if not gives_up:
            return await ask(router, number, streamed=streamed)
        # At once, amid the connection's set-up, the upload, the answer: whenever it happens to be.
        asking = asyncio.ensure_future(ask(router, number, streamed=streamed))
        await asyncio.sleep(chance.choice((0.0, 0.0, 0.001, 0.005, 0.02)))
        asking.cancel()
        return await asking
    except asyncio.CancelledError:
        return "cancelled"
    except RouteError as error:
        return type(error).__name__


@frozen
class Sample:
    requests: int
    memory: int
    descriptors: int
    tasks: int
    threads: int


def memory() -> int:
    """Resident bytes of this process."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return int(subprocess.check_output(["ps", "-o", "rss=", "-p", str(os.getpid())])) * 1024


def descriptors() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


async def sampled(router: Router, requests: int) -> Sample:
    """What is there when nothing is in flight."""
    assert router.flush(30)
    # Connections that were dropped are closed by the loop, a few turns later.
    await asyncio.sleep(0.1)
    gc.collect()
    return Sample(requests, memory(), descriptors(), len(asyncio.all_tasks()), threading.active_count())


async def soak(address: str, requests: int) -> bool:
    """Whether everything stays flat, and every request was told of once."""
    sink, chance, ends = Counting(), random.Random(2), Counter[str]()
    samples: list[Sample] = []
    began = time.monotonic()
    print("requests  memory MiB  descriptors  tasks  threads  requests/s")
    async with Router(config(address, sink)) as router:
        numbers = iter(range(requests))

        async def worker(until: int) -> None:
            for number in numbers:
                ends[await one(router, number, chance)] += 1
                if number >= until:
                    return

        rounds = min(ROUNDS, max(4, requests // 500))
        for step in range(1, rounds + 1):
            last = requests * step // rounds - 1
            since, done = time.monotonic(), ends.total()
            await asyncio.gather(*(worker(last - IN_FLIGHT + 1) for _ in range(IN_FLIGHT)))
            rate = (ends.total() - done) / (time.monotonic() - since)
            samples.append(now := await sampled(router, ends.total()))
            print(
                f"{now.requests:8}  {now.memory / MIB:10.1f}  {now.descriptors:11}  {now.tasks:5}  {now.threads:7}"
                f"  {rate:10.0f}",
                flush=True,
            )
        dropped = sum(report.dropped for report in router.sink_reports())
    print(f"{time.monotonic() - began:.0f} s; for the callers: {dict(ends.most_common())}")
    print(f"attempts: {dict(sink.attempts.most_common())}; circuits opened {sink.opened} times")
    told = sink.requests.total()
    checks = {**flat(samples), f"{told} of {ends.total()} requests told of, {dropped} events dropped": told == requests}
    for what, holds in checks.items():
        print(f"{'yes' if holds else 'NO '}  {what}")
    return all(checks.values())


def flat(samples: list[Sample]) -> dict[str, bool]:
    """Each claim, and whether it holds."""
    warm = samples[max(1, len(samples) // 10) :]
    first, quarter = warm[0], max(1, len(warm) // 4)
    grown = statistics.mean(one.memory for one in warm[-quarter:])
    grown -= statistics.mean(one.memory for one in warm[:quarter])
    more = max(one.descriptors for one in warm) - first.descriptors
    return {
        f"memory grew by {grown / MIB:.1f} MiB": grown <= MEMORY_MAY_GROW,
        f"descriptors grew by {more} at most": more <= IN_FLIGHT * len(BACKENDS),
        f"tasks: {max(one.tasks for one in warm)} at most": max(one.tasks for one in warm) <= first.tasks,
        f"threads: {max(one.threads for one in warm)} at most": max(one.threads for one in warm) <= first.threads,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=200_000)
    requests = parser.parse_args().requests
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        command = [sys.executable, __file__, "--serve", str(listener.fileno())]
        server = subprocess.Popen(command, pass_fds=[listener.fileno()])
    try:
        return int(not asyncio.run(soak(address, requests)))
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    if "--serve" in sys.argv:
        asyncio.run(serve(socket.socket(fileno=int(sys.argv[2]))))
    sys.exit(main())
