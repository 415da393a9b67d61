"""Whether the parts of a configuration fit together: every name exists, every task can be served."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from math import isclose

from .config import Config, RolloutSettings
from .convert import Complaint, suggest
from .policy.rollout import BUCKETS

MOST_SHARES = 2
"""One path grows from the low end of the buckets, one from the high end."""

EVERYONE = 100
"""Per cent."""


def check(config: Config, known_backends: AbstractSet[str]) -> Iterator[Complaint]:
    """Every place where one part names something that another does not have."""
    yield from _router(config)
    yield from _models(config, known_backends)
    yield from _tasks(config)
    yield from _paths(config, known_backends)
    if config.rollout is not None:
        yield from _rollout(config, config.rollout)
    yield from _reachable(config)


def _router(config: Config) -> Iterator[Complaint]:
    router = config.router
    if router.default_task is not None and router.default_task not in config.tasks:
        yield Complaint(
            ("router", "default_task"), f'no task "{router.default_task}"; {suggest(router.default_task, config.tasks)}'
        )
    for name in ("deadline", "attempt_timeout"):
        if getattr(router, name) <= 0:
            yield Complaint(("router", name), "must be more than 0 seconds")
    for name in ("max_attempts", "event_queue"):
        if getattr(router, name) < 1:
            yield Complaint(("router", name), "must be at least 1")


def _models(config: Config, known_backends: AbstractSet[str]) -> Iterator[Complaint]:
    for name, model in config.models.items():
        if not model.on:
            yield Complaint(("models", name, "on"), "name at least one backend, and what it calls this model")
        for backend in model.on:
            if backend not in known_backends:
                yield Complaint(("models", name, "on", backend), _no_backend(backend, known_backends))
        if model.context is not None and model.context < 1:
            yield Complaint(("models", name, "context"), "must be at least 1 token")


def _tasks(config: Config) -> Iterator[Complaint]:
    for name, task in config.tasks.items():
        if not task.models:
            yield Complaint(("tasks", name, "models"), "name at least one model")
        for place, model in enumerate(task.models):
            if model not in config.models:
                yield Complaint(
                    ("tasks", name, "models", place), f'no model "{model}"; {suggest(model, config.models)}'
                )


def _paths(config: Config, known_backends: AbstractSet[str]) -> Iterator[Complaint]:
    for name, backends in config.paths.items():
        if not backends:
            yield Complaint(("paths", name), "the path is empty; name at least one backend")
        for place, backend in enumerate(backends):
            if backend not in known_backends:
                yield Complaint(("paths", name, place), _no_backend(backend, known_backends))
            elif backend in backends[:place]:
                yield Complaint(("paths", name, place), f'"{backend}" stands on this path twice')
    if len(config.paths) > 1 and config.rollout is None:
        first = next(iter(config.paths))
        yield Complaint(("paths",), f'more than one path needs a rollout that chooses: [rollout] control = "{first}"')


def _rollout(config: Config, rollout: RolloutSettings) -> Iterator[Complaint]:
    if rollout.control not in config.paths:
        yield Complaint(
            ("rollout", "control"), f'no path "{rollout.control}"; {suggest(rollout.control, config.paths)}'
        )
    if len(rollout.shares) > MOST_SHARES:
        yield Complaint(("rollout", "shares"), "at most two paths can have a share beside the control path")
    for path, share in rollout.shares.items():
        place = ("rollout", "shares", path)
        if path == rollout.control:
            yield Complaint(place, "the control path has what the other shares leave; remove this")
        elif path not in config.paths:
            yield Complaint(place, f'no path "{path}"; {suggest(path, config.paths)}')
        if not 0 <= share <= EVERYONE:
            yield Complaint(place, f"a share is 0 to 100 per cent, not {share:g}")
        elif not isclose(share * BUCKETS / EVERYONE, round(share * BUCKETS / EVERYONE), abs_tol=1e-6):
            yield Complaint(place, f"a share goes in steps of 0.001 per cent; {share!r} is finer")
    total = sum(share for share in rollout.shares.values() if share > 0)
    if total > EVERYONE and all(share <= EVERYONE for share in rollout.shares.values()):
        yield Complaint(("rollout", "shares"), f"the shares add up to {total:g} per cent; 100 is all there is")


def _reachable(config: Config) -> Iterator[Complaint]:
    """Every task has at least one target on every path that it may be sent along."""
    for name, task in config.tasks.items():
        models = [config.models[model] for model in task.models if model in config.models]
        for path, backends in config.paths.items():
            if models and backends and not any(backend in model.on for backend in backends for model in models):
                message = f'no model of this task is on a backend of the path "{path}"; add one to its `on`'
                yield Complaint(("tasks", name, "models"), message)


def _no_backend(name: str, known: AbstractSet[str]) -> str:
    nearest = f" {suggest(name, known)}" if known else ""
    return f'"{name}" is no active backend;{nearest} A backend is active when it has a table [plugins.{name}]'
