"""pointsman, the asynchronous face: a rollout, the breaker, one sink that is told everything, decisions recorded."""

from itertools import count

import worker
from attrs import define
from traffic import KEY, MODEL, PROMPT

from pointsman import MetricEmission, Router, Secret, hookimpl


@define(eq=False)
class Counting(MetricEmission):
    """Counts what it is told."""

    events: int = 0

    @hookimpl
    def emit_metric(self, event):
        self.events += 1


def config(bases: list[str]) -> dict[str, object]:
    first, last = bases[0], bases[-1]
    # Ten thousand connections at once take their time; the others set no limit to it.
    server = {"use": "openai_compatible", "api_key": Secret(KEY), "connect_timeout": 290}
    proxy, direct = (server | {"base_url": base} for base in (first, last))
    # Nothing opens: the breaker watches each of many failures in a row, as it would the first.
    breaker = {"failures_in_a_row": 10**9, "of_at_least": 10**9}
    # Both paths begin with the server that fails, where there is one.
    both = ["proxy", "direct"]
    return {
        "router": {"deadline": 300, "attempt_timeout": 290},
        "plugins": {"proxy": proxy, "direct": direct, "sink": Counting(), "breaker": breaker},
        "models": {"small": {"on": {"proxy": MODEL, "direct": MODEL}}},
        "tasks": {"chat": {"models": ["small"]}},
        "paths": {"proxied": both, "direct": ["direct"] if first == last else both},
        "rollout": {"control": "direct", "shares": {"proxied": 50}},
    }


class Base:
    def __init__(self, bases: list[str]) -> None:
        self.router = self.new_router(bases)
        self.units = count()

    def new_router(self, bases: list[str]) -> Router:
        return Router(config(bases))

    def settle(self) -> None:
        assert self.router.flush()


class Client(Base):
    async def complete(self) -> str:
        answer = await self.router.acomplete(PROMPT, task="chat", unit=next(self.units))
        assert answer.decision.served is not None
        return answer.text

    async def stream(self) -> list[str]:
        async with self.router.astream(PROMPT, task="chat", unit=next(self.units)) as stream:
            return [chunk.text async for chunk in stream if chunk.text]


if __name__ == "__main__":
    worker.main(Client, ["pointsman", "pointsman-openai-compatible", "httpx", "aiohttp"])
