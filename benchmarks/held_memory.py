"""Where the memory of requests in flight is: bytes for each, by the file that asked for them.

    python benchmarks/held_memory.py [--most 20] [--client router_pointsman]

A thousand requests wait for a server that holds their answers back, with what `benchmarks/comparison` has on: a
rollout, the breaker, one sink. Counted by `tracemalloc`, after a collection, over what a first request had made.
`--client` names another module of `benchmarks/comparison/processes`: `bare_aiohttp` is what connections alone take.
"""

import argparse
import asyncio
import gc
import os
import subprocess
import sys
import tracemalloc
from collections import Counter
from importlib import import_module
from pathlib import Path

PROCESSES = Path(__file__).parent / "comparison" / "processes"
sys.path.insert(0, str(PROCESSES))

MANY = 1_000
SETTLING = 2.0
"""Seconds until all of them wait."""


async def measure(client: str, address: str) -> Counter[str]:
    """Bytes by file, for all of them."""
    contestant = import_module(client).Client
    held = contestant([f"{address}/hold/{MANY + 2}/v1"])
    await contestant([f"{address}/whole/v1"]).complete()
    first = asyncio.create_task(held.complete())
    await asyncio.sleep(SETTLING / 4)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.take_snapshot()
    tasks = [asyncio.create_task(held.complete()) for _ in range(MANY)]
    await asyncio.sleep(SETTLING)
    gc.collect()
    after = tracemalloc.take_snapshot()
    tracemalloc.stop()
    assert not any(task.done() for task in (first, *tasks))
    grown: Counter[str] = Counter()
    for line in after.compare_to(before, "filename"):
        grown["/".join(Path(line.traceback[0].filename).parts[-2:])] += line.size_diff
    return grown


async def report(client: str, address: str, most: int) -> None:
    """Prints them, and ends the process: nobody answers those that wait."""
    grown = await measure(client, address)
    print(f"{sum(grown.values()) / MANY:8,.0f}  bytes a request")
    for name, size in grown.most_common(most):
        print(f"{size / MANY:8,.0f}  {name}")
    sys.stdout.flush()
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--most", type=int, default=20, help="files to name")
    parser.add_argument("--client", default="router_pointsman", help="whose requests")
    chosen = parser.parse_args()
    command = [sys.executable, str(PROCESSES / "upstream.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        asyncio.run(report(chosen.client, f"http://127.0.0.1:{port}", chosen.most))


if __name__ == "__main__":
    main()
