"""The scenarios, in rounds: in each, everybody in turn."""

import asyncio
import json
import sys
import urllib.request
from collections import defaultdict
from contextlib import AsyncExitStack
from typing import Any

import running
import traffic
from attrs import frozen
from contestants import CONTESTANTS, Contestant, NotInstalled, python_of
from running import Worker

Samples = dict[str, dict[str, list[dict[str, Any]]]]
"""By scenario and contestant: what each round said, or an `error`."""


@frozen(kw_only=True)
class Scenario:
    """Requests by everybody who can."""

    title: str
    kind: str = "whole"
    paths: tuple[str, ...]
    in_flight: int = 1
    parsing: bool = False
    """Whether to parse the same bytes from memory beside it."""
    blocking: bool = False
    """Whether those take part that block."""


SCENARIOS = {
    "whole-1": Scenario(title="whole answers, one at a time", paths=("whole",), blocking=True),
    "whole-64": Scenario(title="whole answers, 64 in flight", paths=("whole",), in_flight=64),
    "whole-512": Scenario(title="whole answers, 512 in flight", paths=("whole",), in_flight=512),
    "stream": Scenario(
        title="streams of 400 chunks, one at a time, as many chunks in a packet as fit",
        kind="stream",
        paths=("stream",),
        parsing=True,
        blocking=True,
    ),
    "paced": Scenario(
        title="streams of 400 chunks, one at a time, each chunk in a packet of its own",
        kind="stream",
        paths=("paced",),
    ),
    "fallback": Scenario(
        title="a first target that fails and a second that answers, one at a time",
        paths=("fail", "whole"),
        blocking=True,
    ),
}
MORE = ("start", "memory", "held", "import", "core")
"""Scenarios of their own kind."""
CORE_ROUNDS = 5
"""Rounds of the core alone for each of the others: each takes a fraction of a second."""
MANY = 10_000
HELD_ROUNDS = 3
"""Rounds of holding so many requests: each begins a process anew."""


@frozen(kw_only=True)
class Effort:
    """How much of it."""

    rounds: int
    seconds: float
    """For each contestant, scenario and round."""
    many: int = MANY
    """Requests after which, and in flight with which, memory is looked at."""
    limit: float = 90
    """Seconds after which a contestant has failed."""


class Measurement:
    """One run of everything that is asked for."""

    def __init__(self, effort: Effort, only: frozenset[str], *, offline: bool = False) -> None:
        self.effort = effort
        self.offline = offline
        names = {one.name for one in CONTESTANTS}
        self.scenarios = [name for name in (*SCENARIOS, *MORE) if name in only or not only - names]
        self.chosen = [one for one in CONTESTANTS if one.name in only or not only & names]
        self.samples: Samples = defaultdict(lambda: defaultdict(list))
        self.failed: dict[str, str] = {}
        """Contestants that could not take part, and why."""
        self.errors = 0
        """Samples that could not be taken."""
        self.versions: dict[str, dict[str, str]] = {}
        self.server = ""

    async def run(self) -> None:
        files = {"answer.json": traffic.whole(), "answer.sse": b"".join(traffic.events())}
        async with AsyncExitStack() as stack:
            own, self.server = await stack.enter_async_context(running.upstream(offline=self.offline))
            fast = await stack.enter_async_context(running.nginx(files, traffic.failed()))
            if fast:
                self.server = f"nginx; paced and held answers: {self.server}"
            self.own, self.fast = own, fast or own
            workers = [worker for one in self.chosen if (worker := await self._worker(one))]
            await self._requests(workers)
            if self._now("start"):
                await self._starts(workers)
            if self._now("memory"):
                await self._memory(workers)
            if self._now("held"):
                await self._held([worker for worker in workers if worker.contestant.holds])
        if self._now("import"):
            await self._imports()
        if self._now("core"):
            rounds = self.effort.rounds * CORE_ROUNDS
            self._note("core", "pointsman", await self._script("core_alone.py", str(rounds), limit=300))

    def _now(self, scenario: str) -> bool:
        if scenario in self.scenarios:
            print(scenario, file=sys.stderr, flush=True)
        return scenario in self.scenarios

    def _note(self, scenario: str, name: str, told: dict[str, Any]) -> None:
        self.samples[scenario][name].append(told)
        if "error" in told:
            self.errors += 1
            print(f"  {name}: {told['error']}", file=sys.stderr, flush=True)

    async def _worker(self, one: Contestant) -> Worker | None:
        try:
            return Worker(one, await self._python_of(one))
        except NotInstalled as error:
            self.failed[one.name] = f"it could not be installed: {error}"
            return None

    async def _python_of(self, one: Contestant) -> str:
        return await python_of(one.name, one.needs, at_our_versions=one.at_our_versions, offline=self.offline)

    async def _script(self, name: str, *arguments: str, limit: float) -> dict[str, Any]:
        """What a script of ours says where pointsman is installed."""
        try:
            python = await self._python_of(next(one for one in CONTESTANTS if one.name == "pointsman"))
        except NotInstalled as error:
            return {"error": f"pointsman could not be installed: {error}"}
        return await running.script(python, name, *arguments, limit=limit)

    def _bases(self, paths: tuple[str, ...]) -> list[str]:
        return [f"{self.own if path == 'paced' else self.fast}/{path}/v1" for path in paths]

    async def _requests(self, workers: list[Worker]) -> None:
        """The scenarios that are requests, each contestant's process kept over all rounds."""
        scenarios = [(name, SCENARIOS[name]) for name in self.scenarios if name in SCENARIOS]
        async with AsyncExitStack() as stack:
            started = [await stack.enter_async_context(worker.running()) for worker in workers]
            ready = [worker for worker in started if await self._same_request(worker)]
            for name, scenario in scenarios:
                for number in range(self.effort.rounds):
                    print(f"{name}, round {number + 1}", file=sys.stderr, flush=True)
                    # Nobody is always the first after a pause.
                    shift = number % max(len(ready), 1)
                    for worker in ready[shift:] + ready[:shift]:
                        if self._takes_part(worker.contestant, scenario):
                            await self._round(worker, name, scenario)

    @staticmethod
    def _takes_part(one: Contestant, scenario: Scenario) -> bool:
        if one.parses:
            return scenario.parsing
        return scenario.blocking or not one.blocking

    async def _round(self, worker: Worker, name: str, scenario: Scenario) -> None:
        told = self.samples[name][worker.contestant.name]
        if told and "error" in told[-1]:
            return
        answer = await worker.ask(
            self.effort.limit,
            do="run",
            kind=scenario.kind,
            bases=self._bases(scenario.paths),
            in_flight=scenario.in_flight,
            requests=1_000_000,
            seconds=self.effort.seconds,
            warm=scenario.in_flight,
        )
        self._note(name, worker.contestant.name, answer)

    async def _same_request(self, worker: Worker) -> bool:
        """Whether it asks as everybody else does, and gets the answer that everybody gets."""
        name = worker.contestant.name
        self.versions[name] = worker.versions
        for kind, path in (("whole", "whole"), ("stream", "stream")):
            told = await worker.ask(60, do="one", kind=kind, bases=[f"{self.own}/{path}/v1"])
            if told and "error" in told:
                self.failed[name] = f"{kind}: {told['error']}"
                return False
            if not worker.contestant.parses:
                sent = await asyncio.to_thread(latest_request, self.own)
                wanted = traffic.whole_body(stream=kind == "stream")
                if {"stream": False} | sent != {"stream": False} | wanted:
                    self.failed[name] = f"sends another request: {sent}"
                    return False
        return True

    async def _starts(self, workers: list[Worker]) -> None:
        for number in range(self.effort.rounds + 1):
            for worker in workers:
                if worker.contestant.name in self.failed:
                    continue
                told = await worker.first(self._bases(("whole",))[0])
                if number or "error" in told:  # the first start compiles what is imported
                    self._note("start", worker.contestant.name, told)

    async def _memory(self, workers: list[Worker]) -> None:
        """What a fresh process has grown by after many requests."""
        for worker in workers:
            one = worker.contestant
            if one.name in self.failed or one.parses:
                continue
            async with worker.running():
                bases = self._bases(("whole",))
                in_flight = 1 if one.blocking else 64
                command = {"do": "run", "kind": "whole", "bases": bases, "in_flight": in_flight, "warm": in_flight}
                much = {"requests": self.effort.many, "seconds": self.effort.limit}
                told = await worker.ask(self.effort.limit * 2, **command, **much)
                if told.get("requests", self.effort.many) < self.effort.many:
                    told = {"error": f"{told['requests']:,} requests in {self.effort.limit:.0f} s, and no more"}
                self._note("memory", one.name, told)

    async def _held(self, workers: list[Worker]) -> None:
        """What a fresh process grows by while many requests wait for their answers."""
        many = self.effort.many
        # In turn, beginning with another one in each round.
        for worker in [one for number in range(HELD_ROUNDS) for one in (*workers[number:], *workers[:number])]:
            if worker.contestant.name in self.failed:
                continue
            async with worker.running():
                ready = await worker.ask(60, do="one", kind="whole", bases=self._bases(("whole",)))
                if ready and "error" in ready:
                    self._note("held", worker.contestant.name, ready)
                    continue
                bases = [f"{self.own}/hold/{many}/v1"]
                command = {"do": "run", "kind": "whole", "bases": bases, "in_flight": many, "warm": 0}
                told = await worker.ask(self.effort.limit * 2, **command, requests=many, seconds=self.effort.limit)
                self._note("held", worker.contestant.name, told)

    async def _imports(self) -> None:
        for number in range(self.effort.rounds + 1):
            for statement in ("import pointsman", "from pointsman import Router"):
                told = await self._script("importing.py", statement, limit=30)
                if number or "error" in told:  # as above
                    self._note("import", statement, told)


def latest_request(address: str) -> dict[str, Any]:
    """The body that the server was sent last."""
    with urllib.request.urlopen(f"{address}/last", timeout=10) as response:
        return json.load(response)
