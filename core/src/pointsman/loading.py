"""A TOML file or Python objects in, one checked `Snapshot` out; or every problem at once."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from attrs import evolve, fields, resolve_types

from . import plugins as plugin_module
from .checks import check
from .complaints import Complaint, KeyPath, dotted, nearest, suggest
from .config import Config, ModelSettings, RolloutSettings, RouterSettings, TaskSettings
from .convert import structure
from .errors import ConfigError, Problem
from .hooks import chains
from .outside import described
from .policy import BUILT_IN
from .snapshot import Snapshot
from .targets import Catalog, Target


def from_toml(path: Path, earlier: Snapshot | None = None, *, read_secrets: bool = True) -> Snapshot:
    """The snapshot of a TOML file. Raises `ConfigError` with every problem, each with its line.

    Plugins of an `earlier` snapshot whose class and settings are the same are carried over with their state.
    Without `read_secrets` it needs no key and can call nobody: it is for looking at what would be decided.
    """
    from . import toml_file  # noqa: PLC0415 - only a file needs it

    text, table = toml_file.read(path)
    snapshot, complaints = _build(table, earlier, read_secrets=read_secrets)
    if snapshot is not None and earlier is not None and earlier.catalog.targets and not snapshot.catalog.targets:
        # A file that somebody is just emptying, most likely; it would leave every request without a target.
        complaints = [Complaint(("models",), "there are none any more; add one with an `on` table")]
        snapshot = None
    if snapshot is None:
        raise ConfigError(toml_file.placed(complaints, text, path))
    return snapshot


def from_config(config: Config | Mapping[str, object]) -> Snapshot:
    """The snapshot of a `Config`, or of the table that a TOML file would give. Raises `ConfigError`."""
    table = _as_table(config)
    if not isinstance(table, Mapping):
        message = f"expected a Config or a table of sections, got {described(config)}; Router.from_toml reads a file"
        raise ConfigError([Problem(key="", message=message)])
    snapshot, complaints = _build(cast("Mapping[str, object]", table))
    if snapshot is None:
        raise ConfigError([Problem(key=dotted(one.path), message=one.message) for one in complaints])
    return snapshot


def check_again(snapshot: Snapshot) -> None:
    """Whether a configuration that was changed in code still fits together. Raises `ConfigError` where not."""
    problems = [
        Problem(key=dotted(one.path), message=one.message)
        for one in check(snapshot.config, snapshot.plugins, snapshot.hooks.backends.keys(), frozenset())
    ]
    if problems:
        raise ConfigError(problems)


def _as_table(value: object) -> object:
    """Settings objects as the tables that a file would have, so that their types are checked as a file's are."""
    if isinstance(value, (Config, ModelSettings, RolloutSettings, RouterSettings, TaskSettings)):
        return {a.name: set_to for a in fields(type(value)) if (set_to := getattr(value, a.name)) is not None}
    return value


def _build(
    table: Mapping[str, object], earlier: Snapshot | None = None, *, read_secrets: bool = True
) -> tuple[Snapshot | None, list[Complaint]]:
    config, complaints, doubtful = _sections(table)
    built, wrong = plugin_module.build(config.plugins, earlier.plugins if earlier else (), read_secrets=read_secrets)
    complaints += wrong
    manager, wrong = plugin_module.register(built)
    complaints += wrong
    # A plugin that could not be built is complained about once, not again at every place that names it.
    failed = {name for one in complaints if one.path[0] == "plugins" for name in _names_at(one.path[1:])}
    doubtful |= {("plugins", name) for name in failed}
    off = config.plugins.keys() - failed - {plugin.name for plugin in built}
    hooks, wrong = chains(manager, frozenset(BUILT_IN), config.order, failed=failed, off=off)
    if ("plugins",) not in doubtful:
        complaints += wrong
    complaints += check(config, built, hooks.backends.keys(), doubtful)
    if complaints:
        return None, complaints
    snapshot = Snapshot(config=config, plugins=tuple(built), hooks=hooks, catalog=_catalog(config))
    return snapshot, []


def _sections(table: Mapping[str, object]) -> tuple[Config, list[Complaint], set[KeyPath]]:
    """All that can be read, what is wrong with the rest, and which names that leaves in doubt."""
    resolve_types(Config)
    known = {a.name: a.type for a in fields(Config)}
    good: dict[str, Any] = {}
    complaints: list[Complaint] = []
    doubtful: set[KeyPath] = set()
    for name, value in table.items():
        if name not in known:
            complaints.append(Complaint((name,), f"unknown section; {suggest(name, known)}"))
            doubtful.add((nearest(name, known) or name,))
            continue
        given = _as_table(value)
        if isinstance(given, Mapping):
            given = {key: _as_table(entry) for key, entry in cast("Mapping[str, object]", given).items()}
        section, wrong = structure(given, known[name])
        if wrong:
            complaints += [Complaint((name, *one.path), one.message) for one in wrong]
            doubtful |= {(name, entry) for one in wrong for entry in _names_at(one.path)}
            section = _what_is_right(given, wrong, known[name])
        if section is None:
            doubtful.add((name,))
        else:
            good[name] = section
    rollouts = good.get("rollouts", {})
    good["rollouts"] = {name: evolve(one, salt=one.salt or name) for name, one in rollouts.items()}
    return Config(**good), complaints, doubtful


def _names_at(path: KeyPath) -> set[str]:
    """Whose entry of a section a path is in: the first key, or all of them where a name was split at its dots."""
    return {str(path[0]), ".".join(map(str, path))} if path else set()


def _what_is_right(table: object, wrong: Iterable[Complaint], cls: Any) -> object | None:
    """The section without the entries that are wrong, so that the others can be checked in the same run."""
    if not isinstance(table, Mapping):
        return None
    keys = {one.path[0] for one in wrong if one.path}
    right = {key: value for key, value in cast("Mapping[str, object]", table).items() if key not in keys}
    return structure(right, cls)[0]


def _catalog(config: Config) -> Catalog:
    by_model = {
        name: tuple(
            Target(model=name, backend=backend, name=wire_name, context=model.context, quota=model.quota)
            for backend, wire_name in model.on.items()
        )
        for name, model in config.models.items()
    }
    by_task = {
        name: tuple(target for model in task.models for target in by_model[model])
        for name, task in config.tasks.items()
    }
    everything = tuple(target for targets in by_model.values() for target in targets)
    return Catalog(everything, MappingProxyType(by_task), MappingProxyType(by_model))
