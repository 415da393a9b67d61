"""Whether the parts of a configuration fit together: every name exists, every task can be served."""

import inspect
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import cast

from attrs import frozen

from .complaints import Complaint, KeyPath, dotted, nearest, suggest
from .config import Config
from .plugins import Plugin
from .policy.guard import Guard
from .policy.limits import Limits
from .rollout_checks import repeated, rollout_tables, rollouts


def check(
    config: Config, plugins: Iterable[Plugin], backends: AbstractSet[str], doubtful: AbstractSet[KeyPath]
) -> Iterator[Complaint]:
    """Every place where a part is no use by itself, or names something that another does not have.

    `doubtful` are the parts that could not be read or built. They were complained about once, and are not
    again at every place that names them.
    """
    yield from _router(config)
    yield from _models(config)
    yield from _tasks(config)
    yield from _paths(config, doubtful)
    yield from rollouts(config)
    yield from _guarded(config, plugins)
    yield from _names(config, backends, doubtful)
    if not doubtful:
        yield from _limits(config, plugins, backends)
    yield from _reachable(config, backends)


def _router(config: Config) -> Iterator[Complaint]:
    for name in ("deadline", "attempt_timeout"):
        if getattr(config.router, name) <= 0:
            yield Complaint(("router", name), "must be more than 0 seconds")
    for name in ("max_attempts", "event_queue"):
        if getattr(config.router, name) < 1:
            yield Complaint(("router", name), "must be at least 1")


def _models(config: Config) -> Iterator[Complaint]:
    for name, model in config.models.items():
        if not model.on:
            yield Complaint(("models", name, "on"), "name at least one backend, and what it calls this model")
        for backend, named in model.on.items():
            if not named.strip():
                yield Complaint(("models", name, "on", backend), "write what this backend calls the model")
        if model.context is not None and model.context < 1:
            yield Complaint(("models", name, "context"), "must be at least 1 token")


def _tasks(config: Config) -> Iterator[Complaint]:
    for name, task in config.tasks.items():
        if not task.models:
            yield Complaint(("tasks", name, "models"), "name at least one model")
        yield from repeated(("tasks", name, "models"), task.models, "in this task")
        if inspect.iscoroutinefunction(task.last_resort):
            message = "must not be `async def`: it is called where a request ends, and returns its text at once"
            yield Complaint(("tasks", name, "last_resort"), message)


def _paths(config: Config, doubtful: AbstractSet[KeyPath]) -> Iterator[Complaint]:
    for name, backends in config.paths.items():
        if not backends:
            yield Complaint(("paths", name), "the path is empty; name at least one backend")
        yield from repeated(("paths", name), backends, "on this path")
    elsewhere = {task for rollout in config.rollouts.values() for task in rollout.tasks}
    needed = not config.tasks or config.tasks.keys() - elsewhere
    if len(config.paths) > 1 and config.rollout is None and needed and ("rollout",) not in doubtful:
        first = next(iter(config.paths))
        yield Complaint(("paths",), f'more than one path needs a rollout that chooses: [rollout] control = "{first}"')


@frozen
class _Reference:
    """A place that names what another section defines."""

    path: KeyPath
    section: str
    name: str


def _references(config: Config) -> Iterator[_Reference]:
    if config.router.default_task is not None:
        yield _Reference(("router", "default_task"), "tasks", config.router.default_task)
    for model, settings in config.models.items():
        yield from (_Reference(("models", model, "on", backend), "plugins", backend) for backend in settings.on)
    for task, settings in config.tasks.items():
        for place, model in enumerate(settings.models):
            yield _Reference(("tasks", task, "models", place), "models", model)
    for path, backends in config.paths.items():
        for place, backend in enumerate(backends):
            yield _Reference(("paths", path, place), "plugins", backend)
    for place, rollout in rollout_tables(config):
        yield _Reference((*place, "control"), "paths", rollout.control)
        for key in ("shares", "units"):
            yield from (_Reference((*place, key, path), "paths", path) for path in getattr(rollout, key))
        yield from (_Reference((*place, "tasks", at), "tasks", task) for at, task in enumerate(rollout.tasks))


def _names(config: Config, backends: AbstractSet[str], doubtful: AbstractSet[KeyPath]) -> Iterator[Complaint]:
    """Names that nothing defines, each at the first place that has it."""
    defined: Mapping[str, Iterable[str]] = {
        "plugins": backends,
        "models": config.models,
        "tasks": config.tasks,
        "paths": config.paths,
    }
    places: dict[tuple[str, str], list[KeyPath]] = {}
    for one in _references(config):
        in_doubt = (one.section,) in doubtful or (one.section, one.name) in doubtful
        if one.name not in defined[one.section] and not in_doubt:
            places.setdefault((one.section, one.name), []).append(one.path)
    for (section, name), (first, *others) in places.items():
        message = _no_backend(config, name, backends) if section == "plugins" else _no(section, name, defined[section])
        more = f" (named at {len(others)} more place{'s'[: len(others) > 1]})" if others else ""
        yield Complaint(first, message + more)


def _no(section: str, name: str, defined: Iterable[str]) -> str:
    known = tuple(defined)
    return f'no {section.rstrip("s")} "{name}"; {suggest(name, known) if known else f"add it to [{section}]"}'


def _no_backend(config: Config, name: str, backends: AbstractSet[str]) -> str:
    others = f"; {suggest(name, backends)}" if backends else ""
    table = dotted(("plugins", name))
    if name in config.plugins:
        given = config.plugins[name]
        off = isinstance(given, Mapping) and cast("Mapping[str, object]", given).get("enabled") is False
        if off:
            return f'"{name}" is switched off by enabled = false in [{table}]; remove that, or name another backend'
        return f'"{name}" is no backend{others}'
    if nearest(name, backends):
        return f'no backend "{name}"{others}'
    return f'no backend "{name}"; add a table [{table}]{others}'


def _guarded(config: Config, plugins: Iterable[Plugin]) -> Iterator[Complaint]:
    """After the rollout the guard could only say that units take control, and not lead them there."""
    order = config.order.get("select_model", ())
    guards = [plugin.name for plugin in plugins if isinstance(plugin.instance, Guard)]
    for guard in guards:
        if "rollout" in order and guard not in order[: order.index("rollout")]:
            yield Complaint(("order", "select_model"), f"{guard} has to come before rollout; name it there")


def _limits(config: Config, plugins: Iterable[Plugin], backends: AbstractSet[str]) -> Iterator[Complaint]:
    """Limits of what does not exist: nobody would notice that they hold nothing back."""
    quotas = {model.quota for model in config.models.values() if model.quota is not None}
    targets = {f"{backend}/{name}" for name, model in config.models.items() for backend in model.on}
    known = sorted(backends | quotas | targets)
    for plugin in plugins:
        if isinstance(plugin.instance, Limits):
            for setting in ("concurrency", "per_minute"):
                for name in getattr(plugin.instance, setting):
                    if name not in known:
                        message = f'no backend, quota or "backend/model" is called "{name}"; {suggest(name, known)}'
                        yield Complaint(("plugins", plugin.name, setting, name), message)


def _reachable(config: Config, backends: AbstractSet[str]) -> Iterator[Complaint]:
    """Tasks without a target on a path that they may be sent along, where every name is right."""
    paths = {path: names for path, names in config.paths.items() if names and backends >= set(names)}
    for name, task in config.tasks.items():
        models = [config.models.get(model) for model in task.models]
        on = {backend for model in models if model for backend in model.on}
        if not all(model and model.on for model in models) or not on <= backends:
            continue
        dead_ends = [f'"{path}"' for path, names in paths.items() if models and on.isdisjoint(names)]
        if dead_ends:
            message = f"no model of this task is on a backend of the path {' or '.join(dead_ends)}; add one to its `on`"
            yield Complaint(("tasks", name, "models"), message)
