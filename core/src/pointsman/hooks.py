"""Frozen, ordered, typed chains of hook implementations.

pluggy finds, names and checks implementations; after loading they are read once into these
chains. A chain knows its steps' plugin names, so "why did my request go there?" has an answer.
"""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cache
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from attrs import field, frozen
from pluggy import HookImpl, PluginManager

from .chat import Chunk, Completion, Request
from .complaints import Complaint, dotted, suggest
from .context import AttemptContext, DecisionContext, RouteState
from .decision import AttemptOutcome
from .errors import Failure
from .hookspecs import CONCERNS, PROJECT
from .records import RecordedRequest, RecordQuery
from .targets import Target
from .verdicts import GateStatus, Next, Permit, Selection, SkipTarget, Stop, WaitUntil

F = TypeVar("F")
Calling: TypeAlias = Literal["pipeline", "addressed", "asked", "told"]
Rank: TypeAlias = Literal["order", "tryfirst", "trylast", "default"]

CALLING: Mapping[str, Calling] = {
    "select_model": "pipeline",
    "decide_fallback": "asked",
    "admit": "asked",
    "settle": "addressed",
    "report_gate": "told",
    "start_backend": "addressed",
    "complete": "addressed",
    "stream": "addressed",
    "ping_backend": "addressed",
    "close_backend": "addressed",
    "start_sink": "told",
    "emit_metric": "told",
    "flush_sink": "told",
    "close_sink": "told",
    "recorded_requests": "addressed",
}
"""How each hook is called. Only the order of the first three means anything, and can be configured."""

ORDERED = ("select_model", "decide_fallback", "admit")

Select: TypeAlias = Callable[[Request, tuple[Target, ...], DecisionContext], Selection | None]
Decide: TypeAlias = Callable[[Request, Failure, RouteState], Next | Stop | None]
Admit: TypeAlias = Callable[[Target, DecisionContext], Permit | SkipTarget | WaitUntil | None]
Settle: TypeAlias = Callable[[Permit, AttemptOutcome | None, Failure | None, DecisionContext], None]
Report: TypeAlias = Callable[[DecisionContext], Sequence[GateStatus] | None]


@frozen
class Step(Generic[F]):
    """One implementation in a chain."""

    plugin: str
    call: F = field(repr=False)
    """A method; its repr would show the settings of its plugin."""
    placed_by: Rank = "default"
    """What put it at its place: the configuration's `[order]`, its own mark, or the default order."""


@frozen(kw_only=True, cache_hash=True)
class Backend:
    """The methods of one backend plugin. Equal where the plugin is the same object under the same name."""

    name: str
    complete: Callable[[Target, Request, AttemptContext], Coroutine[Any, Any, Completion]]
    stream: Callable[[Target, Request, AttemptContext], AsyncIterator[Chunk]] | None
    start: Callable[[str], Awaitable[None]] | None
    ping: Callable[[], Awaitable[str | None]] | None
    close: Callable[[], Awaitable[None]] | None


@frozen(kw_only=True, cache_hash=True)
class Sink:
    """The methods of one metric sink. Equal as backends are."""

    name: str
    emit: Callable[[Any], None]
    start: Callable[[], None] | None
    flush: Callable[[], None] | None
    close: Callable[[], None] | None
    recorded: Callable[[RecordQuery], Iterable[RecordedRequest]] | None


@frozen(kw_only=True)
class Hooks:
    """Every chain of one configuration."""

    select_model: tuple[Step[Select], ...] = ()
    decide_fallback: tuple[Step[Decide], ...] = ()
    admit: tuple[Step[Admit], ...] = ()
    settle: Mapping[str, Settle] = field(factory=dict[str, Settle], repr=False)
    report_gate: tuple[Step[Report], ...] = ()
    backends: Mapping[str, Backend] = field(factory=dict[str, Backend], repr=False)
    sinks: tuple[Sink, ...] = field(default=(), repr=False)


@cache
def spec_names() -> Mapping[str, tuple[str, ...]]:
    """Every hook's name with its arguments' names."""
    return {
        name: tuple(inspect.signature(spec).parameters)[1:]
        for concern in CONCERNS
        for name, spec in vars(concern).items()
        if hasattr(spec, f"{PROJECT}_spec")
    }


def chains(
    manager: PluginManager,
    built_in: frozenset[str],
    order: Mapping[str, tuple[str, ...]],
    *,
    failed: AbstractSet[str] = frozenset(),
    off: AbstractSet[str] = frozenset(),
) -> tuple[Hooks, list[Complaint]]:
    """The chains of every registered plugin, in the order that the configuration asks for.

    `failed` are plugins that belong here but could not be registered; the order may name them, and none that is `off`.
    """
    complaints: list[Complaint] = []
    for hook in order:
        if hook not in ORDERED:
            reason = "its order means nothing" if hook in CALLING else "is no hook"
            complaints.append(Complaint(("order", hook), f"{reason}; {suggest(hook, ORDERED)}"))

    def chain(hook: str) -> tuple[Step[Any], ...]:
        steps, wrong = _ordered(
            hook, _implementations(manager, hook), built_in, order.get(hook, ()), failed=failed, off=off
        )
        complaints.extend(wrong)
        return steps

    by_plugin = {hook: {step.plugin: step.call for step in _implementations(manager, hook)} for hook in CALLING}
    names = [name for name, _ in manager.list_name_plugin()]
    hooks = Hooks(
        select_model=chain("select_model"),
        decide_fallback=chain("decide_fallback"),
        admit=chain("admit"),
        settle=by_plugin["settle"],
        report_gate=tuple(_implementations(manager, "report_gate")),
        backends={
            name: Backend(
                name=name,
                complete=by_plugin["complete"][name],
                stream=by_plugin["stream"].get(name),
                start=by_plugin["start_backend"].get(name),
                ping=by_plugin["ping_backend"].get(name),
                close=by_plugin["close_backend"].get(name),
            )
            for name in names
            if name in by_plugin["complete"]
        },
        sinks=tuple(
            Sink(
                name=name,
                emit=by_plugin["emit_metric"][name],
                start=by_plugin["start_sink"].get(name),
                flush=by_plugin["flush_sink"].get(name),
                close=by_plugin["close_sink"].get(name),
                recorded=by_plugin["recorded_requests"].get(name),
            )
            for name in names
            if name in by_plugin["emit_metric"]
        ),
    )
    return hooks, complaints


def _implementations(manager: PluginManager, hook: str) -> list[Step[Any]]:
    """The implementations of one hook, in the order of registration."""
    registered = [name for name, _ in manager.list_name_plugin()]
    found: list[HookImpl] = getattr(manager.hook, hook).get_hookimpls()
    steps = [Step(one.plugin_name, _with_all_arguments(hook, one), _mark(one)) for one in found]
    return sorted(steps, key=lambda step: registered.index(step.plugin))


def _mark(implementation: HookImpl) -> Rank:
    if implementation.tryfirst:
        return "tryfirst"
    return "trylast" if implementation.trylast else "default"


def _with_all_arguments(hook: str, implementation: HookImpl) -> Callable[..., Any]:
    """The implementation, called with all arguments by position; pluggy lets one leave some out."""
    wanted = spec_names()[hook]
    taken = implementation.argnames
    if taken == wanted:
        return implementation.function
    return _Fewer(implementation.function, tuple(wanted.index(name) for name in taken))


@frozen
class _Fewer:
    """Calls a function with the arguments at these places only."""

    function: Callable[..., Any]
    places: tuple[int, ...]

    def __call__(self, *arguments: Any) -> Any:
        return self.function(*[arguments[place] for place in self.places])


def _ordered(
    hook: str,
    steps: list[Step[Any]],
    built_in: frozenset[str],
    wanted: tuple[str, ...],
    *,
    failed: AbstractSet[str],
    off: AbstractSet[str],
) -> tuple[tuple[Step[Any], ...], list[Complaint]]:
    """The configuration's order, the plugins that it leaves out after the others in the default order.

    By default users' plugins prevail over the built-in ones. In a pipeline the last step prevails, so
    built-ins come first there; where the first answer wins they come last.
    """
    rank = {"tryfirst": 0, "default": 1, "trylast": 2}
    built_in_first = CALLING[hook] == "pipeline"
    by_default = sorted(steps, key=lambda step: (step.plugin in built_in) != built_in_first)
    by_default.sort(key=lambda step: rank[step.placed_by])
    by_name = {step.plugin: step for step in by_default}
    complaints: list[Complaint] = []
    for place, name in enumerate(wanted):
        if name in wanted[:place]:
            complaints.append(Complaint(("order", hook, place), f'"{name}" stands here twice; remove one'))
        elif name in off:
            message = (
                f'"{name}" is switched off by enabled = false in [{dotted(("plugins", name))}]; remove it here too'
            )
            complaints.append(Complaint(("order", hook, place), message))
        elif name not in by_name and name not in failed:
            message = f'no active plugin "{name}" has this hook; {suggest(name, by_name)}'
            complaints.append(Complaint(("order", hook, place), message))
    listed = [Step(name, by_name.pop(name).call, "order") for name in wanted if name in by_name]
    return (*listed, *by_name.values()), complaints
