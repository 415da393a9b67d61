"""`pointsman config show`: what takes effect, defaults included, and where each value comes from."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import click
from attrs import field, frozen

from pointsman.complaints import KeyPath
from pointsman.config import Config
from pointsman.loading import from_toml
from pointsman.plugins import Plugin
from pointsman.snapshot import Snapshot
from pointsman.toml_file import read
from pointsman.toml_positions import Position, locate

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
        lines = [_line(entry) for entry in entries]
        width = max((len(line) for line in lines if len(line) <= WIDEST), default=0)
        for entry, line in zip(entries, lines, strict=True):
            with_origin = origin and (entry.value is not None or entry.origin != DEFAULT)
            click.echo(f"{line:{width}}  " + click.style(f"# {entry.origin}", dim=True) if with_origin else line)


WIDEST = 60
"""Characters before the column of origins; what is longer pushes its own origin out."""


def _sections(snapshot: Snapshot, file: _File) -> Iterator[tuple[tuple[str, ...], list[Entry]]]:
    config = snapshot.config
    yield ("router",), list(_entries(config.router, ("router",), file))
    for plugin in snapshot.plugins:
        yield ("plugins", plugin.name), list(_plugin(plugin, file))
    for name in config.plugins.keys() - {plugin.name for plugin in snapshot.plugins}:
        off = Entry("enabled", value=False, kind=bool, origin=file.origin("plugins", name, "enabled"))
        yield ("plugins", name), [off]
    for name, model in config.models.items():
        yield ("models", name), list(_entries(model, ("models", name), file))
    for name, task in config.tasks.items():
        yield ("tasks", name), list(_entries(task, ("tasks", name), file))
    if config.paths:
        yield ("paths",), list(_named(config, "paths", file))
    if config.rollout is not None:
        yield ("rollout",), list(_entries(config.rollout, ("rollout",), file))
    if config.order:
        yield ("order",), list(_named(config, "order", file))


def _plugin(plugin: Plugin, file: _File) -> Iterator[Entry]:
    place = ("plugins", plugin.name)
    used = file.written(*place, "use")
    if used is not None:
        yield Entry("use", used, str, file.origin(*place, "use"))
    yield from _entries(plugin.instance, place, file)


def _entries(values: object, place: tuple[str, ...], file: _File) -> Iterator[Entry]:
    for one in settings_of(type(values)):
        value = getattr(values, one.name)
        origin = file.origin(*place, one.name)
        yield Entry(one.name, value, one.kind, origin, hidden=not one.shown and origin != DEFAULT)


def _named(config: Config, section: str, file: _File) -> Iterator[Entry]:
    for name, value in cast("Mapping[str, object]", getattr(config, section)).items():
        yield Entry(name, value, object, file.origin(section, name))


def _line(entry: Entry) -> str:
    """`name = value`, as a comment where there is no value to write."""
    if entry.hidden:
        return f"# {entry.name}: not shown, for it may hold a key"
    if entry.value is None:
        return f"# {entry.name}: not set"
    return f"{key(entry.name)} = {toml(entry.value, entry.kind)}"


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
