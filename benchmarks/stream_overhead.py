"""What a streamed answer costs through the router, as a multiple of what nobody can do without.

    python benchmarks/stream_overhead.py [--limit 2.5]

An answer of 400 chunks as OpenRouter writes them, read with `router.astream` by a program that throws them away, one
sink told everything. Beside it, in the same run and in turn, the floor: the same bytes by the same way, split
at the empty lines, and `json.loads` of each event. Two ways: `paced`, each event in a packet of its own as models
write them, and `at once`, as many in each packet as fit, where the router's own work weighs the most. Counted is the
CPU time of this process, on one core where the system lets us choose it; the server is another process, elsewhere.
Prints both and their ratio; with --limit, exits with 1 when a ratio is above it.
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time

from attrs import define

from pointsman import MetricEmission, Router, hookimpl
from pointsman_openai_compatible.aiohttp_way import AiohttpWay, tls_context

CHUNKS = 400
ANSWERS = {"paced": 2, "at once": 10}
ROUNDS = 15
PAUSE = 0.0002
"""Seconds between two packets of a paced answer."""

MODEL = "z-ai/glm-4.5-air:free"


@define(eq=False)
class Counting(MetricEmission):
    """Counts what it is told."""

    events: int = 0

    @hookimpl
    def emit_metric(self, event):
        self.events += 1


def config(address: str) -> dict[str, object]:
    return {
        "plugins": {"openrouter_direct": {"base_url": address}, "sink": Counting()},
        "models": {"glm": {"on": {"openrouter_direct": MODEL}}},
        "paths": {"direct": ["openrouter_direct"]},
    }


# The server, in a process of its own.


def events() -> list[bytes]:
    def event(content: str, finish: str | None = None, **more: object) -> bytes:
        choice = {
            "index": 0,
            "delta": {"role": "assistant", "content": content},
            "finish_reason": finish,
            "native_finish_reason": finish,
            "logprobs": None,
        }
        body = {"id": "gen-1790000000-abcdefghijklmnopqrst", "provider": "Nordlys", "model": MODEL}
        body |= {"object": "chat.completion.chunk", "created": 1790000000, "choices": [choice]} | more
        return b"data: %b\n\n" % json.dumps(body, separators=(",", ":")).encode()

    usage = {"prompt_tokens": 42, "completion_tokens": CHUNKS, "total_tokens": CHUNKS + 42, "cost": 0.001}
    answer = [event(f" word{number}") for number in range(CHUNKS - 2)]
    return [b": OPENROUTER PROCESSING\n\n", *answer, event("", "stop"), event("", "stop", usage=usage)]


def serve(listener: socket.socket) -> None:
    """Answers every POST: paced where its path says so, else at once."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    pieces = [b"%x\r\n%b\r\n" % (len(one), one) for one in (*events(), b"data: [DONE]\n\n", b"")]

    def talk(client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        received = b""
        while data := client.recv(65536):
            received += data
            if b"\r\n\r\n" not in received or not received.endswith(b"}"):
                continue
            paced, received = received.startswith(b"POST /paced"), b""
            for piece in [head, *pieces] if paced else [head + b"".join(pieces)]:
                client.sendall(piece)
                if paced:
                    time.sleep(PAUSE)

    while True:
        client, _ = listener.accept()
        threading.Thread(target=talk, args=(client,), daemon=True).start()


# The two readers.


async def floor(way: AiohttpWay, address: str) -> None:
    body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "hello"}], "stream": True}).encode()
    headers = {"content-type": "application/json", "authorization": "Bearer sk-nobody"}
    response = await way.send(f"{address}/chat/completions", headers, body, connect_timeout=5.0)
    rest, chunks = b"", 0
    async for data in response.pieces():
        *whole, rest = (rest + data).split(b"\n\n")
        for event in whole:
            if event.startswith(b"data: {"):
                json.loads(event[6:])
                chunks += 1
    await response.close()
    assert chunks == CHUNKS


async def through(router: Router) -> None:
    async with router.astream("hello", unit="u-17") as stream:
        async for _ in stream:
            pass
    assert stream.completion.usage.output_tokens == CHUNKS


async def measure(address: str, answers: int) -> tuple[float, float]:
    """CPU seconds for a chunk, both ways: medians, measured in turn."""
    floors: list[float] = []
    routed: list[float] = []
    way = AiohttpWay(tls_context(None))
    async with Router(config(address)) as router:
        for _ in range(ROUNDS + 1):
            began = time.process_time()
            for _ in range(answers):
                await floor(way, address)
            between = time.process_time()
            for _ in range(answers):
                await through(router)
            router.flush()
            floors.append(between - began)
            routed.append(time.process_time() - between)
    await way.close()
    chunks = answers * CHUNKS
    # The first round warms up.
    return statistics.median(floors[1:]) / chunks, statistics.median(routed[1:]) / chunks


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=float, help="the highest ratio that is fine")
    limit = parser.parse_args().limit
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        command = [sys.executable, __file__, "--serve", str(listener.fileno()), *map(str, cores[1:])]
        server = subprocess.Popen(command, pass_fds=[listener.fileno()])
    if cores:
        os.sched_setaffinity(0, cores[:1])
    ratios: list[float] = []
    try:
        for way, answers in ANSWERS.items():
            path = "paced" if way == "paced" else "once"
            least, routed = asyncio.run(measure(f"{address}/{path}", answers))
            ratios.append(routed / least)
            print(f"{way}: reading and json.loads    {least * 1e6:7.2f} us a chunk")
            print(f"{way}: through router.astream    {routed * 1e6:7.2f} us a chunk")
            print(f"{way}: ratio                     {ratios[-1]:7.2f}")
    finally:
        server.terminate()
        server.wait()
    return int(limit is not None and max(ratios) > limit)


if __name__ == "__main__":
    if "--serve" in sys.argv:
        descriptor, *elsewhere = map(int, sys.argv[2:])
        if elsewhere:
            os.sched_setaffinity(0, elsewhere)
        serve(socket.socket(fileno=descriptor))
    sys.exit(main())
