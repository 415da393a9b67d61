"""What a configuration does, without a server, a socket or a second of waiting.

A simulation carries out the same plans, by the same policy, as a router does in production; only the clock, chance
and the backends are scripted. It answers questions such as "what becomes of `lead-analysis` when OpenRouter is
down for a minute?":

    down = Outages({"openrouter_direct": [(60, 120)]})
    simulation = Simulation.from_toml("pointsman.toml", down)
    for second in range(180):
        simulation.request(at=second, task="lead-analysis", unit=second)
    assert all(call.answered for call in simulation.run().calls)

The same seed gives the same run, to the last byte.
"""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self, cast

from attrs import define, fields, frozen

from pointsman.asking import report_gate
from pointsman.chat import Completion
from pointsman.config import Config
from pointsman.events import Event
from pointsman.hookspecs import BackendInvocation, Streaming, hookimpl
from pointsman.intake import Call
from pointsman.loading import from_config
from pointsman.verdicts import GateStatus

from .behaviours import Script, SimulatedAttempt
from .virtual_time import Running, SimulatedCall, World


@frozen
class Result:
    """What a run came to."""

    calls: tuple[SimulatedCall, ...]
    events: tuple[Event, ...]
    """All events, in order, with simulated times."""
    attempts: tuple[SimulatedAttempt, ...]
    """All attempts that reached a scripted backend, in order."""


class Simulation:
    """Requests by one configuration, on a virtual clock that begins at 0.

    Every backend that the configuration names is replaced by the script; selection, fallback and gate
    plugins are the real ones. Sinks are told nothing: what they would be told is in the result.
    """

    def __init__(self, config: Config | Mapping[str, object], script: Script, *, seed: int = 0) -> None:
        self.snapshot = from_config(_with_scripted_backends(config))
        """The configuration, with scripted backends."""
        self._world = World(script, seed)
        self._calls: list[SimulatedCall] = []

    @classmethod
    def from_toml(cls, path: str | Path, script: Script, *, seed: int = 0) -> Self:
        """The simulation of a TOML file. The backends' own settings, keys among them, are not read."""
        return cls(tomllib.loads(Path(path).read_text(encoding="utf-8")), script, seed=seed)

    @property
    def now(self) -> float:
        """Seconds since the simulation began."""
        return self._world.now

    def request(
        self, *, at: float | None = None, cancel_after: float | None = None, stream: bool = False, **call: Any
    ) -> SimulatedCall:
        """A request that begins `at` a time, or now. `call` is what `Router.complete` takes, `messages` by name.

        `cancel_after` is when its caller gives up, in seconds from its beginning.
        """
        ours = ("task", "unit", "model", "deadline", "labels", "extra_body")
        parameters = {name: value for name, value in call.items() if name not in (*ours, "messages")}
        named = {name: call[name] for name in ours if name in call}
        made = Call.of(self.snapshot, call.get("messages", "?"), **named, parameters=parameters, stream=stream)
        begins = self.now if at is None else at
        simulated = SimulatedCall(len(self._calls), begins)
        self._calls.append(simulated)
        running = Running(self._world, made, simulated)
        self._world.at(begins, running.begin)
        if cancel_after is not None:
            self._world.at(begins + cancel_after, running.cancel)
        return simulated

    def run(self, until: float | None = None) -> Result:
        """Everything that happens until then, or until nothing is left to happen."""
        self._world.run(until)
        return Result(tuple(self._calls), tuple(self._world.events), tuple(self._world.attempts))

    def health(self) -> tuple[GateStatus, ...]:
        """What `Router.health` would say now."""
        return report_gate(self._world.context(self.snapshot, 0))


@define(eq=False)
class _Scripted(BackendInvocation, Streaming):
    """Stands where a backend is configured. The simulation makes its attempts, so it is never called."""

    @hookimpl
    async def complete(self, target: Any, request: Any, ctx: Any) -> Completion:
        raise NotImplementedError

    @hookimpl
    def stream(self, target: Any, request: Any, ctx: Any) -> Any:
        raise NotImplementedError


def _with_scripted_backends(config: Config | Mapping[str, object]) -> dict[str, object]:
    """The configuration as a table, every backend that a model or a path names replaced."""
    if isinstance(config, Config):
        sections = ((a.name, getattr(config, a.name)) for a in fields(Config))
        table: dict[str, object] = {name: section for name, section in sections if section is not None}
    else:
        table = dict(config)
    plugins = dict(cast("Mapping[str, object]", table.get("plugins", {})))
    plugins.update((name, _Scripted()) for name in dict.fromkeys(_backends(table)))
    return {**table, "plugins": plugins}


def _backends(table: Mapping[str, object]) -> Iterator[str]:
    for model in cast("Mapping[str, Any]", table.get("models", {})).values():
        yield from model["on"] if isinstance(model, Mapping) else model.on
    for path in cast("Mapping[str, Any]", table.get("paths", {})).values():
        yield from path
