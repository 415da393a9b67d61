"""What a configuration may say, as values. `convert` reads them from TOML, `checks` compares them."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

from attrs import field, frozen

from .chat import Request
from .rollouts.settings import VerdictSettings
from .settings import Seconds, Share, Switch, UnitName

EMPTY: Mapping[str, object] = MappingProxyType({})

Algorithm: TypeAlias = Literal["sha256", "modulo100"]
WithoutUnit: TypeAlias = Literal["control", "draw"]


@frozen(kw_only=True)
class RouterSettings:
    """`[router]`: the limits of one request."""

    deadline: Seconds = Seconds(60.0)
    """Over everything: attempts, pauses, plugins. A call may ask for another one."""
    attempt_timeout: Seconds = Seconds(30.0)
    """For one attempt, where the deadline leaves that much."""
    first_token_timeout: Seconds = Seconds(20.0)
    """For the first content of a stream, in place of `attempt_timeout`."""
    idle_timeout: Seconds = Seconds(15.0)
    """For each further content of a stream. Comments and empty chunks are none."""
    reserve: Seconds = Seconds(5.0)
    """What an attempt leaves for each target that could still be tried after it."""
    max_attempts: int = 4
    """HTTP requests per request, retries and fallbacks together."""
    default_task: str | None = None
    """The task of a call that names none."""
    event_queue: int = 10_000
    """Events that wait for one sink; further ones are dropped and counted."""


@frozen(kw_only=True)
class ModelSettings:
    """`[models.<name>]`: one model, and what each backend calls it."""

    on: Mapping[str, str]
    context: int | None = None
    """Context window in tokens."""
    quota: str | None = None
    """Models that name the same quota share one allowance, on every backend."""


@frozen(kw_only=True)
class TaskSettings:
    """`[tasks.<name>]`: the models for one kind of work, best first."""

    models: tuple[str, ...]
    why: str = ""
    last_resort: str | Callable[[Request], str] | None = None
    """What the caller gets when no target answers, instead of an error. A callable is for configurations in code."""


@frozen(kw_only=True)
class RolloutSettings:
    """`[rollout]`, and `[rollouts.<name>]` for some tasks: who takes which path."""

    control: str
    """The path of everyone whom no share covers."""
    tasks: tuple[str, ...] = ()
    """The tasks of a rollout with a name. All the others are those of `[rollout]`."""
    salt: str = ""
    """Another salt draws other units; keep it for as long as the rollout lasts. By default the rollout's name."""
    shares: Mapping[str, Share] = field(default=MappingProxyType({}))
    """Per cent of units for each other path, in steps of 0.001; or `{ env = "NAME", default = 10 }`.

    The first path grows from the low end of the buckets, the second from the high end. So leave a path that has
    had its time here with 0: without it the second would become the first, and its units others.
    """
    units: Mapping[str, tuple[UnitName, ...]] = field(default=MappingProxyType({}))
    """For a path, the units that take it whatever the shares say, such as its testers."""
    off: Switch = False
    """Sends everyone to the control path, whatever else is said; or `{ env = "NAME", default = false }`."""
    algorithm: Algorithm = "sha256"
    without_unit: WithoutUnit = "control"
    """Where a request without a unit goes: the control path, or wherever chance puts it."""
    steps: tuple[float, ...] = (10.0, 50.0, 100.0)
    """The shares that are planned, in per cent. `pointsman rollout status` says when to take the next."""
    verdict: VerdictSettings = field(default=VerdictSettings())
    """How much worse than control a path may be, and how sure `pointsman rollout status` has to be."""


DEFAULT_ROLLOUT = "default"
"""What `[rollout]`, which has no name, is called where one is needed."""


@frozen(kw_only=True)
class Config:
    """A whole configuration. Build it here, or read it with `Router.from_toml`."""

    router: RouterSettings = RouterSettings()
    plugins: Mapping[str, object] = field(default=EMPTY, repr=False)
    """By name: a table of settings, or a finished plugin object. Naming a plugin makes it active."""
    models: Mapping[str, ModelSettings] = field(default=MappingProxyType({}))
    tasks: Mapping[str, TaskSettings] = field(default=MappingProxyType({}))
    paths: Mapping[str, tuple[str, ...]] = field(default=MappingProxyType({}))
    """Each path is backends, in order."""
    rollout: RolloutSettings | None = None
    rollouts: Mapping[str, RolloutSettings] = field(default=MappingProxyType({}))
    """By name: rollouts of their own, for some tasks each."""
    order: Mapping[str, tuple[str, ...]] = field(default=MappingProxyType({}))
    """For a hook, the plugins that it is to call, in order."""

    @property
    def all_rollouts(self) -> Mapping[str, RolloutSettings]:
        """By name; `[rollout]` is `DEFAULT_ROLLOUT`."""
        unnamed = {} if self.rollout is None else {DEFAULT_ROLLOUT: self.rollout}
        return {**unnamed, **self.rollouts}

    def rollout_of(self, task: str) -> tuple[str, RolloutSettings] | None:
        """The name and the settings of the rollout that a task takes part in."""
        for name, rollout in self.rollouts.items():
            if task in rollout.tasks:
                return name, rollout
        return None if self.rollout is None else (DEFAULT_ROLLOUT, self.rollout)
