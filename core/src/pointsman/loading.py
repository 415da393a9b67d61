"""A TOML file or Python objects in, one checked `Snapshot` out; or every problem at once."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from attrs import fields, resolve_types

from . import plugins as plugin_module
from .checks import check
from .config import Config
from .convert import Complaint, KeyPath, structure, suggest
from .errors import ConfigError, Problem
from .hooks import chains
from .policy import BUILT_IN
from .snapshot import Snapshot
from .targets import Catalog, Target


def from_toml(path: Path) -> Snapshot:
    """The snapshot of a TOML file. Raises `ConfigError` with every problem, each with its line."""
    import tomllib  # noqa: PLC0415 - only a file needs it

    file = str(path)
    try:
        text = path.read_bytes().decode("utf-8")
        table = tomllib.loads(text)
    except OSError as error:
        raise ConfigError([Problem(key="", file=file, message=f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError:
        raise ConfigError([Problem(key="", file=file, message="is not UTF-8 text")]) from None
    except tomllib.TOMLDecodeError as error:
        from .toml_positions import syntax_error_position  # noqa: PLC0415 - only a broken file needs it

        at = syntax_error_position(error)
        message = f"is not TOML: {str(error).split(' (at ')[0]}"
        line, column = (at.line, at.column) if at else (None, None)
        raise ConfigError([Problem(key="", file=file, line=line, column=column, message=message)]) from None
    snapshot, complaints = _build(table)
    if snapshot is None or complaints:
        raise ConfigError(_placed(complaints, text, file))
    return snapshot


def from_config(config: Config | Mapping[str, object]) -> Snapshot:
    """The snapshot of a `Config`, or of the table that a TOML file would give. Raises `ConfigError`."""
    table = _as_table(config) if isinstance(config, Config) else config
    snapshot, complaints = _build(table)
    if snapshot is None or complaints:
        raise ConfigError([Problem(key=_dotted(one.path), message=one.message) for one in complaints])
    return snapshot


def _as_table(config: Config) -> dict[str, object]:
    """The sections of a configuration; their values are finished, so that reading them again only checks types."""
    return {a.name: value for a in fields(Config) if (value := getattr(config, a.name)) is not None}


def _build(table: Mapping[str, object]) -> tuple[Snapshot | None, list[Complaint]]:
    config, complaints = _sections(table)
    built, wrong = plugin_module.build(config.plugins)
    complaints += wrong
    manager, wrong = plugin_module.register(built)
    complaints += wrong
    # A plugin that could not be built is complained about once, not again at every place that names it.
    hooks, wrong = chains(manager, frozenset(BUILT_IN), config.order)
    if not complaints:
        complaints += wrong
    failed = {one.path[1] for one in complaints if one.path[:1] == ("plugins",)}
    broken_sections = {one.path[0] for one in complaints if one.path}
    complaints += [
        one
        for one in check(config, known_backends={*hooks.backends, *map(str, failed)})
        if one.path[0] not in broken_sections
    ]
    if complaints:
        return None, complaints
    snapshot = Snapshot(config=config, plugins=tuple(built), hooks=hooks, catalog=_catalog(config))
    return snapshot, []


def _sections(table: Mapping[str, object]) -> tuple[Config, list[Complaint]]:
    """Every section that can be read, and what is wrong with the others."""
    resolve_types(Config)
    known = {a.name: a.type for a in fields(Config)}
    good: dict[str, Any] = {}
    complaints: list[Complaint] = []
    for name, value in table.items():
        if name not in known:
            complaints.append(Complaint((name,), f"unknown section; {suggest(name, known)}"))
            continue
        section, wrong = structure(value, known[name])
        complaints += [Complaint((name, *one.path), one.message) for one in wrong]
        if not wrong:
            good[name] = section
    return Config(**good), complaints


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


def _placed(complaints: Iterable[Complaint], text: str, file: str) -> list[Problem]:
    """Each complaint at the line of the nearest key that the file has."""
    from .toml_positions import locate  # noqa: PLC0415 - only a wrong file needs it

    positions = locate(text)
    problems: list[Problem] = []
    for one in complaints:
        present = next((path for end in range(len(one.path), 0, -1) if (path := one.path[:end]) in positions), None)
        at = positions[present] if present else None
        problems.append(
            Problem(
                key=_dotted(one.path),
                message=one.message,
                file=file,
                line=at.line if at else None,
                column=at.column if at else None,
            )
        )
    return sorted(problems, key=lambda problem: (problem.line or 0, problem.column or 0))


def _dotted(path: KeyPath) -> str:
    """A key path as TOML writes it, array places in brackets."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            bare = part.replace("-", "").replace("_", "").isalnum() and part.isascii()
            text += ("." if text else "") + (part if bare else f'"{part}"')
    return text
