"""`pointsman config show`: what takes effect, defaults included, and where each value comes from."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import click
from attrs import field, frozen, has

from pointsman.complaints import KeyPath
from pointsman.config import Config
from pointsman.loading import from_toml
from pointsman.plugins import Plugin
from pointsman.snapshot import Snapshot
from pointsman.toml_file import read
from pointsman.toml_positions import Position, locate

from ..columns import length, width
from ..output import plain, print_json
from ..settings import settings_of
from ..toml import key, toml

DEFAULT = "default"


@frozen
class Entry:
    """A value that takes effect."""

    name: str
    value: object
    kind: object
    origin: str
    hidden: bool = field(default=False)
    """Whether it may hold a key, so that nobody shows it."""


@frozen
class _File:
    """What the file says, and where."""

    path: Path
    table: Mapping[str, Any]
    places: Mapping[KeyPath, Position]

    def origin(self, *path: str) -> str:
        """Where the value at a key comes from."""
        place = self.places.get(path)
        return f"{self.path}:{place.line}" if place else DEFAULT

    def written(self, *path: str) -> object:
        """What stands at a key, or None."""
        found: Any = self.table
        for name in path:
            found = cast("Mapping[str, Any]", found).get(name) if isinstance(found, Mapping) else None
        return found


def run(config: str, *, origin: bool, as_json: bool) -> None:
    """Prints the whole configuration as TOML, or as JSON."""
    path = Path(config)
    text, table = read(path)
    snapshot = from_toml(path, read_secrets=False)
    sections = dict(_sections(snapshot, _File(path, table, locate(text))))
    if as_json:
        print_json(_document(sections, origin=origin))
        return
    for number, (header, entries) in enumerate(sections.items()):
        click.echo("\n" if number else "", nl=False)
        click.secho(f"[{'.'.join(map(key, header))}]", bold=True)
        _show(entries, origin=origin)


def _show(entries: Sequence[Entry], *, origin: bool) -> None:
    """A table's lines, and beside each where it comes from; above it, where there is no room beside it."""
    origins = [
        f"  # {entry.origin}" if origin and (entry.value is not None or entry.origin != DEFAULT) else ""
        for entry in entries
    ]
    lines = [_lines(entry, width() - len(told)) for entry, told in zip(entries, origins, strict=True)]
    aligned = min(WIDEST, width() - max(map(len, origins), default=0))
    column = max((length(first) for first, *_ in lines if length(first) <= aligned), default=0)
    for (first, *more), told in zip(lines, origins, strict=True):
        if length(first) + len(told) > width():
            click.secho(told.strip(), dim=True)
            click.echo(first)
        else:
            click.echo(first + (" " * (column - length(first)) + click.style(told, dim=True) if told else ""))
        for one in more:
            click.echo(one)


WIDEST = 60
"""Columns before that of origins, at most; what is longer pushes its own origin out."""


def _sections(snapshot: Snapshot, file: _File) -> Iterator[tuple[tuple[str, ...], list[Entry]]]:
    config = snapshot.config
    yield from _tables(config.router, ("router",), file)
    for plugin in snapshot.plugins:
        yield from _plugin(plugin, file)
    for name in config.plugins.keys() - {plugin.name for plugin in snapshot.plugins}:
        off = Entry("enabled", value=False, kind=bool, origin=file.origin("plugins", name, "enabled"))
        yield ("plugins", name), [off]
    for name, model in config.models.items():
        yield from _tables(model, ("models", name), file)
    for name, task in config.tasks.items():
        yield from _tables(task, ("tasks", name), file)
    if config.paths:
        yield ("paths",), list(_named(config, "paths", file))
    if config.rollout is not None:
        yield from _tables(config.rollout, ("rollout",), file)
    for name, rollout in config.rollouts.items():
        yield from _tables(rollout, ("rollouts", name), file)
    if config.order:
        yield ("order",), list(_named(config, "order", file))


def _plugin(plugin: Plugin, file: _File) -> Iterator[tuple[tuple[str, ...], list[Entry]]]:
    place = ("plugins", plugin.name)
    used = file.written(*place, "use")
    use = [] if used is None else [Entry("use", used, str, file.origin(*place, "use"))]
    for header, entries in _tables(plugin.instance, place, file):
        yield header, [*use, *entries] if header == place else entries


def _tables(values: object, place: tuple[str, ...], file: _File) -> Iterator[tuple[tuple[str, ...], list[Entry]]]:
    """The table of a settings class, and after it those of the settings that are tables of their own."""
    entries: list[Entry] = []
    inner: list[tuple[tuple[str, ...], object]] = []
    for one in settings_of(type(values)):
        value: object = getattr(values, one.name)
        origin = file.origin(*place, one.name)
        hidden = not one.shown and origin != DEFAULT
        if has(type(value)) and not hidden:
            inner.append(((*place, one.name), value))
        else:
            entries.append(Entry(one.name, value, one.kind, origin, hidden=hidden))
    yield place, entries
    for header, value in inner:
        yield from _tables(value, header, file)


def _named(config: Config, section: str, file: _File) -> Iterator[Entry]:
    for name, value in cast("Mapping[str, object]", getattr(config, section)).items():
        yield Entry(name, value, object, file.origin(section, name))


def _lines(entry: Entry, room: int) -> list[str]:
    """`name = value`, as a comment where there is no value to write; in several lines where one is too long."""
    if entry.hidden:
        return [f"# {entry.name}: not shown, for it may hold a key"]
    if entry.value is None:
        return [f"# {entry.name}: not set"]
    name, whole = key(entry.name), toml(entry.value, entry.kind)
    if length(f"{name} = {whole}") <= room:
        return [f"{name} = {whole}"]
    value = entry.value
    if isinstance(value, Mapping) and value:
        table = cast("Mapping[str, object]", value)
        return [f"{name}.{key(inner)} = {toml(one)}" for inner, one in table.items()]
    if isinstance(value, (list, tuple)):
        items = cast("Sequence[object]", value)
        return [f"{name} = [", *(f"    {toml(one)}," for one in items), "]"]
    return [f"{name} = {whole}"]


def _document(sections: Mapping[tuple[str, ...], list[Entry]], *, origin: bool) -> dict[str, Any]:
    """The sections as one table of tables; with their origins, each value as `{"value": ..., "origin": ...}`."""
    whole: dict[str, Any] = {}
    for header, entries in sections.items():
        table = whole
        for name in header:
            table = table.setdefault(name, {})
        for entry in entries:
            value = None if entry.hidden else plain(entry.value)
            more = {"hidden": True} if entry.hidden else {}
            table[entry.name] = {"value": value, "origin": entry.origin, **more} if origin else value
    return whole
