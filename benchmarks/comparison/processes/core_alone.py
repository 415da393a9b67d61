"""The router's own work beside a pluggy call: with one task, model and plugin, and with fifty. Prints every round.

    python core_alone.py ROUNDS

Uses what `benchmarks/router_overhead.py` measures with.
"""

import asyncio
import json
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
        names = list(routers)
        for number in range(rounds):
            calls.append(one.pluggy_call())
            shift = number % len(names)  # nobody is always the first
            for name in names[shift:] + names[:shift]:
                requests[name].append(await one.one_request(routers[name]))
    return {"pluggy": calls, "requests": requests}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(int(sys.argv[1])))))
