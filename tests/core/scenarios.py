"""What hypothesis draws for the simulator: configurations, crowds of callers, and what becomes of their attempts."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import cycle
from typing import Any

from attrs import define, frozen
from hypothesis import assume
from hypothesis import strategies as st

from pointsman.errors import DEFAULTS, Delivery, Failure, Kind
from pointsman.hookspecs import Gate, hookimpl
from pointsman.testing import Answers, Breaks, Fails, Hangs, Result, Simulation
from pointsman.testing.behaviours import Behaviour, Script
from pointsman.testing.virtual_time import SimulatedCall
from tests.core.simulated import routes

BACKENDS = ("proxy", "direct", "local")
MODELS = ("small", "large", "huge", "tiny")

CONCERNS = {
    "select_model": ("tasks", "rollout"),
    "decide_fallback": ("fallback", "retries"),
    "admit": ("breaker", "retries"),
}
"""The built-in rules that a configuration may order."""


def some(*values: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(values)


def subsets(values: tuple[str, ...]) -> st.SearchStrategy[list[str]]:
    """At least one of them, in any order."""
    return st.lists(st.sampled_from(values), min_size=1, unique=True)


# Configurations


def settings_of(known: Mapping[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """A table that has some of the settings."""
    return st.fixed_dictionaries({}, optional=dict(known))


router = settings_of(
    {
        "deadline": some(0.001, 0.3, 2, 20, 60),
        "attempt_timeout": some(0.1, 1, 30),
        "first_token_timeout": some(0, 0.1, 1, 30),
        "idle_timeout": some(0, 0.1, 1, 30),
        "reserve": some(0, 0.2, 5, 100),
        "max_attempts": some(1, 2, 3, 4, 8, 50),
    }
)
breaker = settings_of(
    {
        "failures_in_a_row": some(1, 2, 5),
        "failure_share": some(0.1, 0.5, 1),
        "of_at_least": some(1, 4, 20),
        "window": some(0.5, 30),
        "open_for": some(0.1, 1, 5),
        "open_at_most": some(0.5, 20, 120),
        "opens_at_once_for": some(0.2, 5, 60),
        "probe_lease": some(0.1, 2, 60),
    }
)
retries = settings_of(
    {"pause": some(0.01, 0.5, 10), "pause_at_most": some(0.01, 8), "budget": some(0, 1, 10), "refill": some(0, 0.1, 1)}
)


def limits_of(known: Iterable[str]) -> st.SearchStrategy[dict[str, Any]]:
    """Limits of backends, quotas and targets that there are."""
    counted = st.dictionaries(some(*known), st.integers(1, 3), max_size=3)
    return settings_of({"concurrency": counted, "per_minute": counted, "max_wait": some(0, 1, 10)})


fallback = settings_of({"skip_backend_after": st.integers(1, 3)})
OFF = {"enabled": False}
off = st.just(OFF)


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    """Configurations with one to three backends and one to four models. All of them load."""
    backends, models = draw(subsets(BACKENDS)), draw(subsets(MODELS))
    optional = {"quota": some("allowance"), "context": some(1000, 8000)}
    tasks = {
        task: {"models": draw(subsets(tuple(models)))} | draw(settings_of({"last_resort": some("Call us, please.")}))
        for task in draw(subsets(("chat", "mail")))
    }
    on = {model: draw(subsets(tuple(backends))) for model in models}
    paths = {path: draw(subsets(tuple(backends))) for path in draw(subsets(("one", "two")))}
    served = [{backend for model in task["models"] for backend in on[model]} for task in tasks.values()]
    assume(not any(names.isdisjoint(path) for names in served for path in paths.values()))
    control, *others = paths
    split = {"control": control, "shares": {path: draw(some(0, 10, 50, 100)) for path in others}}
    served_by = {
        model: {"on": {backend: f"{backend}:{model}" for backend in on[model]}} | draw(settings_of(optional))
        for model in models
    }
    quotas = ["allowance"] if any("quota" in one for one in served_by.values()) else []
    targets = [f"{name}/{model}" for model in models for name in on[model]]
    limits = limits_of([*dict.fromkeys(name for model in models for name in on[model]), *quotas, *targets])
    rules = {"breaker": breaker | off, "retries": retries | off, "limits": limits | off, "fallback": fallback}
    plugins = draw(st.fixed_dictionaries({}, optional=rules))
    enabled = {hook: [name for name in names if plugins.get(name) != OFF] for hook, names in CONCERNS.items()}
    return {
        "router": draw(router),
        "plugins": plugins,
        "models": served_by,
        "tasks": tasks,
        "paths": paths,
        "rollout": split | {"without_unit": draw(some("control", "draw"))},
        "order": draw(settings_of({hook: st.permutations(names) for hook, names in enabled.items()})),
    }


# What becomes of attempts

delays = some(0.0, 0.01, 0.3, 2.0, 40.0)


@st.composite
def failures(draw: st.DrawFn) -> Failure:
    """Of every kind, with whatever blame, weight, delivery and word of when to come back."""
    kind: Kind = draw(st.sampled_from(sorted(DEFAULTS)))
    delivery: Delivery = draw(some("not_sent", "possibly_billed", "answered"))
    return Failure.of(
        kind,
        f"a {kind} failure",
        blames=draw(some(None, None, "request", "model", "quota", "backend", "nobody")),
        breaker=draw(some(None, None, "counts", "opens", "neutral")),
        retry_after=draw(some(None, None, 0.0, 0.5, 7.0, 60.0)),
        delivery=delivery,
    )


behaviours: st.SearchStrategy[Behaviour] = st.one_of(
    st.builds(Answers, delays, first_content=st.none() | delays),
    st.builds(Fails, failures() | st.sampled_from(sorted(DEFAULTS)), delays),
    st.builds(Breaks, delays, delays | st.just(float("inf")), failures()),
    st.just(Hangs()),
)


@frozen
class Plays:
    """A script: behaviours in turn, each for a number of attempts in a row, and then from the beginning."""

    spells: list[tuple[int, Behaviour]]

    def new(self) -> Script:
        left: Iterator[Behaviour] = cycle([one for number, behaviour in self.spells for one in [behaviour] * number])
        return lambda _: next(left)


plays = st.builds(Plays, st.lists(st.tuples(st.integers(1, 8), behaviours), min_size=1, max_size=8))


# Crowds

asks: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"at": some(0, 0, 0.005, 0.01, 0.5, 3, 10, 58, 65, 200)},
    optional={
        "unit": st.integers(0, 9),
        "stream": st.booleans(),
        "cancel_after": some(0, 0.005, 0.2, 1, 30),
        "deadline": some(0.0005, 0.05, 1, 60),
        "labels": st.just({"team": "blue"}),
        "model": st.integers(0, 3),
    },
)
"""Some of what a request takes. A model is the place of one in the configuration."""


@frozen
class Scenario:
    """A configuration, who asks when, and what becomes of their attempts."""

    config: dict[str, Any]
    asks: list[dict[str, Any]]
    plays: Plays
    seed: int

    def simulation(self, script: Script | None = None) -> Simulation:
        """A new one, in which nobody has asked."""
        return Simulation(self.config, script or self.plays.new(), seed=self.seed)

    def asked(self, place: int) -> dict[str, Any]:
        """What the request at this place passes on to the simulation."""
        ask, models, tasks = dict(self.asks[place]), list(self.config["models"]), list(self.config["tasks"])
        if "model" in ask:
            ask["model"] = models[ask["model"] % len(models)]
        return ask | {"task": tasks[place % len(tasks)]}

    def request(self, simulation: Simulation, place: int, **more: Any) -> SimulatedCall:
        return simulation.request(**self.asked(place) | more)

    def run(self) -> Result:
        """Everything that happens."""
        simulation = self.simulation()
        for place in range(len(self.asks)):
            self.request(simulation, place)
        return simulation.run()

    def deadline(self, place: int) -> float:
        """Seconds that the request at this place may take."""
        return self.asks[place].get("deadline") or self.config["router"].get("deadline", 60.0)

    def rule(self, name: str, setting: str, default: Any) -> Any:
        """A setting of a built-in rule, or None where it is switched off."""
        settings = self.config["plugins"].get(name, {})
        return None if settings == OFF else settings.get(setting, default)


def scenarios(least: int = 1) -> st.SearchStrategy[Scenario]:
    """With so many requests, or more."""
    crowds = st.lists(asks, min_size=least, max_size=25)
    return st.builds(Scenario, configurations(), crowds, plays, st.integers(0, 99))


def on_one_target(plugins: Mapping[str, Any], *acts: Behaviour) -> st.SearchStrategy[Scenario]:
    """A crowd that has only one target, with these rules, and what becomes of its attempts."""
    config = routes(["proxy"], ["small"], router={}, plugins=plugins)
    soon = st.fixed_dictionaries(
        {"at": some(0.0, 0.05, 0.2, 0.4, 0.6, 1.0, 1.5)}, optional={"deadline": some(0.33, 0.7, 9)}
    )
    in_turn = st.builds(Plays, st.lists(st.tuples(st.just(1), st.sampled_from(acts)), min_size=3))
    return st.builds(Scenario, st.just(config), st.lists(soon, min_size=8), in_turn, st.just(0))


@define(eq=False)
class Asked(Gate):
    """Counts how often the gate is asked, and lets everyone through."""

    count: int = 0

    @hookimpl
    def admit(self, target, ctx):
        self.count += 1
