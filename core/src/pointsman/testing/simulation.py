"""What a configuration does, without a server, a socket or a second of waiting.

A simulation carries out the same plans, by the same policy, as a router does in production; only the clock, chance
and the backends are scripted. So it answers questions such as "who serves `lead-analysis` while OpenRouter is down for
a minute?":

    simulation = Simulation.from_toml("pointsman.toml", Outages({"openrouter_direct": [(60, 120)]}))
    calls = [simulation.request(at=second, task="lead-analysis", unit=second) for second in range(180)]
    simulation.run()
    print(Counter(str(call.served) for call in calls))

The same seed gives the same run, to the last byte.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self, cast

from attrs import define, fields, frozen

from pointsman import toml_file
from pointsman.asking import report_gate
from pointsman.chat import JSON, Completion, Message
from pointsman.config import Config
from pointsman.events import Event
from pointsman.hookspecs import BackendInvocation, Streaming, hookimpl
from pointsman.intake import Call
from pointsman.loading import from_config
from pointsman.verdicts import GateStatus

from .behaviours import Script, SimulatedAttempt
from .virtual_time import Running, SimulatedCall, World, on_grid


@frozen
class Result:
    """What has come of a simulation so far."""

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
        _, table = toml_file.read(Path(path))
        return cls(table, script, seed=seed)

    @property
    def now(self) -> float:
        """Seconds since the simulation began."""
        return self._world.now

    def request(
        self,
        messages: str | Iterable[Message] = "?",
        *,
        at: float | None = None,
        cancel_after: float | None = None,
        stream: bool = False,
        seed: int | None = None,
        task: str | None = None,
        unit: str | int | None = None,
        model: str | None = None,
        deadline: float | None = None,
        labels: Mapping[str, str] | None = None,
        extra_body: Mapping[str, JSON] | None = None,
        **parameters: JSON,
    ) -> SimulatedCall:
        """What `Router.complete` takes, or `Router.stream`, for a request that begins `at` a time, or now.

        `cancel_after` is when its caller gives up, in seconds from its beginning. `seed` seeds the chance that the
        request takes, as its decision says; else it is drawn. What came of the request is in the call after `run`.
        """
        begins = on_grid(self.now if at is None else at)
        if begins < self.now:
            raise ValueError(f"at: the simulation is at {self.now:g} s already, and {at:g} s are over")
        call = Call.of(
            self.snapshot,
            messages,
            task=task,
            unit=unit,
            model=model,
            deadline=deadline,
            labels=labels,
            extra_body=extra_body,
            parameters=parameters,
            stream=stream,
        )
        simulated = SimulatedCall(len(self._calls), begins)
        self._calls.append(simulated)
        running = Running(self._world, call, simulated, seed)
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
    plugins = dict(_entries(table, "plugins"))
    plugins.update((name, _Scripted()) for name in dict.fromkeys(_backends(table)))
    return {**table, "plugins": plugins}


def _backends(table: Mapping[str, object]) -> Iterator[str]:
    """Every name in the place of a backend. What is no table or array is left for the configuration's own check."""
    for model in _entries(table, "models").values():
        yield from _entries(model, "on")
    for path in _entries(table, "paths").values():
        yield from path if isinstance(path, list | tuple) else ()


def _entries(of: Any, name: str) -> Mapping[str, Any]:
    entries = of.get(name) if isinstance(of, Mapping) else getattr(of, name, None)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - a table says nothing of its types
    return cast("Mapping[str, Any]", entries) if isinstance(entries, Mapping) else {}
