"""The router's own work, in pluggy calls: with one task, model and plugin, and with fifty.

    python core_alone.py ROUNDS

Uses what `benchmarks/router_overhead.py` measures with.
"""

import asyncio
import json
import statistics
import sys
from contextlib import AsyncExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import router_overhead as one
from router_overhead import AtOnce, Counting

from pointsman import Router

MANY = 50


def config(*, tasks: int = 1, models: int = 1, plugins: int = 1) -> dict[str, object]:
    """A path of two backends, of which one answers at once; the rest is configured and not asked for."""
    on = {"proxy": "vendor/small", "direct": "small"}
    return {
        "plugins": {"proxy": AtOnce(), "direct": AtOnce(), "sink": Counting()}
        | {f"backend-{number}": AtOnce() for number in range(1, plugins)},
        "models": {"small": {"on": on}} | {f"model-{number}": {"on": on} for number in range(1, models)},
        "tasks": {"chat": {"models": ["small"]}}
        | {f"task-{number}": {"models": ["small"]} for number in range(1, tasks)},
        "paths": {"proxied": ["proxy", "direct"], "direct": ["direct"]},
        "rollout": {"control": "direct", "shares": {"proxied": 50}},
    }


CONFIGS = {
    "as in router_overhead": one.CONFIG,
    "one of each": config(),
    f"{MANY} tasks": config(tasks=MANY),
    f"{MANY} models": config(models=MANY),
    f"{MANY} plugins": config(plugins=MANY),
}


async def measure(rounds: int) -> dict[str, object]:
    calls: list[float] = []
    requests: dict[str, list[float]] = {name: [] for name in CONFIGS}
    async with AsyncExitStack() as stack:
        routers = {name: await stack.enter_async_context(Router(CONFIGS[name])) for name in CONFIGS}
        for router in routers.values():
            await one.one_request(router)
        for _ in range(rounds):
            calls.append(one.pluggy_call())
            for name, router in routers.items():
                requests[name].append(await one.one_request(router))
    return {
        "pluggy": statistics.median(calls),
        "requests": {name: statistics.median(v) for name, v in requests.items()},
    }


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(int(sys.argv[1])))))
