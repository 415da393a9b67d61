"""The router's own work for one request, as a multiple of one pluggy call.

    python benchmarks/router_overhead.py [--limit 20]

A backend that answers at once, a rollout, and one sink that is told everything: what is left is what
the router itself does, its threads included, in processor time on one core where the system lets us choose it.
Beside it, in the same run and in turn, one pluggy hook call with three implementations. Prints both and
their ratio; with --limit, exits with 1 when the ratio is above it.
"""

import argparse
import asyncio
import os
import statistics
import sys
import time

import pluggy
from attrs import define

from pointsman import BackendInvocation, Completion, MetricEmission, Router, hookimpl

REQUESTS = 1_000
CALLS = 20_000
ROUNDS = 7

ANSWER = Completion(text="at once", finish_reason="stop")


@define(eq=False)
class AtOnce(BackendInvocation):
    """Answers without any I/O."""

    @hookimpl
    async def complete(self, target, request, ctx):
        return ANSWER


@define(eq=False)
class Counting(MetricEmission):
    """Counts what it is told."""

    events: int = 0

    @hookimpl
    def emit_metric(self, event):
        self.events += 1


CONFIG = {
    "plugins": {"proxy": AtOnce(), "direct": AtOnce(), "sink": Counting()},
    "models": {
        "small": {"on": {"proxy": "vendor/small", "direct": "small"}},
        "large": {"on": {"proxy": "vendor/large", "direct": "large"}},
    },
    "tasks": {"chat": {"models": ["small", "large"]}},
    "paths": {"proxied": ["proxy", "direct"], "direct": ["direct"]},
    "rollout": {"control": "direct", "shares": {"proxied": 50}},
}

hookspec = pluggy.HookspecMarker("benchmark")
plain_hookimpl = pluggy.HookimplMarker("benchmark")


class Spec:
    @hookspec
    def hook(self, request, candidates, ctx):
        """One hook."""


class Implementation:
    @plain_hookimpl
    def hook(self, request, candidates, ctx):
        return None


def pluggy_call() -> float:
    """Seconds for one hook call with three implementations."""
    manager = pluggy.PluginManager("benchmark")
    manager.add_hookspecs(Spec)
    for _ in range(3):
        manager.register(Implementation())
    began = time.process_time()
    for _ in range(CALLS):
        manager.hook.hook(request=1, candidates=2, ctx=3)
    return (time.process_time() - began) / CALLS


async def one_request(router: Router) -> float:
    """Seconds for one request, its events delivered."""
    began = time.process_time()
    for unit in range(REQUESTS):
        await router.acomplete("hello", task="chat", unit=unit)
    router.flush()
    return (time.process_time() - began) / REQUESTS


async def measure() -> tuple[float, float]:
    """The medians of both, measured in turn."""
    calls: list[float] = []
    requests: list[float] = []
    async with Router(CONFIG) as router:
        await one_request(router)
        for _ in range(ROUNDS):
            calls.append(pluggy_call())
            requests.append(await one_request(router))
    return statistics.median(calls), statistics.median(requests)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=float, help="the highest ratio that is fine")
    limit = parser.parse_args().limit
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    call, request = asyncio.run(measure())
    ratio = request / call
    print(f"one pluggy call, three implementations  {call * 1e6:7.2f} us")
    print(f"one request through the router          {request * 1e6:7.2f} us")
    print(f"ratio                                   {ratio:7.1f}")
    return int(limit is not None and ratio > limit)


if __name__ == "__main__":
    sys.exit(main())
