"""`pointsman plugins`: what is installed, what of it is active, what is broken; and what one plugin can be told."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import click
from attrs import evolve, field, frozen

from pointsman.complaints import Complaint, suggest
from pointsman.errors import ConfigError
from pointsman.hooks import CALLING
from pointsman.hookspecs import PROJECT
from pointsman.implementations import PRINCIPAL
from pointsman.plugins import build, classes, distribution, installed, register
from pointsman.policy import BUILT_IN
from pointsman.toml_file import read

from .columns import heading, line, table
from .output import FAILED, print_json, problems_report, wrong_use
from .settings import Setting, kind_words, settings_of
from .toml import toml

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from pluggy import HookimplOpts

State: TypeAlias = Literal["active", "switched off", "available", "broken"]

_ORDER = ("active", "switched off", "broken", "available")
_BUILT_IN = "pointsman itself"


@frozen(kw_only=True)
class Row:
    """One plugin, as the list has it."""

    name: str
    state: State
    distribution: str
    """With its version; `pointsman itself` for the built-in ones."""
    use: str | None = None
    """The plugin that this is, where it has a name of its own."""
    hooks: tuple[str, ...] = ()
    """Known of those whose code runs: the active ones."""
    why: str = ""
    """Of a broken one."""
    cls: type | None = field(default=None, repr=False)


def run(config: str, names: Sequence[str], *, as_json: bool) -> None:
    """Prints the list, or what there is to know of the plugins with these names."""
    tables = _tables(config)
    rows = _rows(tables)
    if names:
        rows = [_in_full(_named(name, rows)) for name in names]
    if as_json:
        print_json([_document(row) for row in rows])
    elif names:
        for number, row in enumerate(rows):
            click.echo(nl=number > 0)
            _show(row)
    else:
        _list(rows)
    if any(row.state == "broken" for row in rows):
        raise SystemExit(FAILED)


def _tables(config: str) -> Mapping[str, object]:
    """The tables of `[plugins]`. Without a file there are none: one may look before there is a configuration."""
    path = Path(config)
    if not path.exists():
        click.secho(f"{path} does not exist, so only the built-in plugins are active", dim=True, err=True)
        return {}
    try:
        section: Any = read(path)[1].get("plugins", {})
    except ConfigError as error:
        click.echo(problems_report(error.problems), err=True)
        return {}
    return cast("Mapping[str, object]", section) if isinstance(section, Mapping) else {}


def _rows(tables: Mapping[str, object]) -> list[Row]:
    found = installed()
    plugins, complaints = build(tables, read_secrets=False)
    _, more = register(plugins)
    wrong = _by_name([*complaints, *more])
    active = {plugin.name: plugin for plugin in plugins}
    rows: list[Row] = []
    for name in dict.fromkeys((*BUILT_IN, *tables, *found)):
        used = _used(name, tables)
        row = Row(name=name, state="available", distribution=_from(used, found), use=used if used != name else None)
        if name in wrong:
            row = evolve(row, state="broken", why=wrong[name])
        elif name in active:
            cls = type(active[name].instance)
            row = evolve(row, state="active", hooks=hooks_of(cls), cls=cls)
        elif name in tables:
            row = evolve(row, state="switched off")
        rows.append(row)
    return sorted(rows, key=lambda row: _ORDER.index(row.state))


def _used(name: str, tables: Mapping[str, object]) -> str:
    """The plugin whose code a table is for."""
    given = tables.get(name)
    used = cast("Mapping[str, object]", given).get("use") if isinstance(given, Mapping) else None
    return used if isinstance(used, str) else name


def _by_name(complaints: Sequence[Complaint]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for one in complaints:
        place = ".".join(map(str, one.path[2:]))
        found.setdefault(str(one.path[1]), []).append(f"{place}: {one.message}" if place else one.message)
    return {name: "; ".join(messages) for name, messages in found.items()}


def _from(name: str, found: "Mapping[str, list[EntryPoint]]") -> str:
    offers = [distribution(entry) for entry in found.get(name, ())]
    return " and ".join([*([_BUILT_IN] if name in BUILT_IN else []), *offers]) or "not installed"


def _named(name: str, rows: Sequence[Row]) -> Row:
    for row in rows:
        if row.name == name:
            return row
    return wrong_use(f'no plugin "{name}" is installed or configured; {suggest(name, [row.name for row in rows])}')


def _in_full(row: Row) -> Row:
    """The row with what only its code knows, which runs here where it has not."""
    if row.cls is not None or row.state == "broken":
        return row
    found, broken = classes(row.use or row.name)
    if row.name in broken:
        return evolve(row, state="broken", why=broken[row.name])
    cls = found[row.use or row.name]
    return evolve(row, cls=cls, hooks=hooks_of(cls))


def hooks_of(cls: type) -> tuple[str, ...]:
    """The hooks that a class implements, in the order in which a request meets them."""
    implemented: set[str] = set()
    for name in dir(cls):
        options: HookimplOpts | None = getattr(getattr(cls, name, None), f"{PROJECT}_impl", None)
        if options is not None:
            implemented.add(options["specname"] or name)
    return tuple(hook for hook in CALLING if hook in implemented)


def _list(rows: Sequence[Row]) -> None:
    for state in _ORDER:
        of_state = [row for row in rows if row.state == state]
        if not of_state:
            continue
        heading("available: a table [plugins.NAME] makes one active" if state == "available" else state)
        table([(row.name, _origin(row), _remark(row)) for row in of_state], indent=2)
        click.echo()
    line("pointsman plugins NAME shows what one does and what it can be told.", dim=True)


def _origin(row: Row) -> str:
    return f"{row.distribution}" + (f", as {row.use}" if row.use else "")


def _remark(row: Row) -> str:
    if row.state == "broken":
        # The column before has the distribution.
        return row.why.removeprefix(f"{row.distribution} is broken: ")
    # What goes with another hook tells nothing more about what a plugin does.
    return ", ".join(hook for hook in row.hooks if hook not in PRINCIPAL)


def _show(row: Row) -> None:
    heading(f"{row.name}, {row.state}")
    line(f"from {_origin(row)}", indent=2)
    if row.why:
        line(row.why, indent=2)
    if row.cls is None:
        return
    if row.cls.__doc__:
        line(" ".join(row.cls.__doc__.split()), indent=2)
    line(f"hooks: {', '.join(row.hooks)}", indent=2, hanging=2)
    settings = settings_of(row.cls)
    click.echo()
    if not settings:
        line("It has no settings.", indent=2)
    for one in settings:
        line(f"{one.name}  {kind_words(one.kind)}, {_default(one)}", indent=2, hanging=4, strong=one.name)
        if one.about:
            line(one.about, indent=6, dim=True)


def _default(setting: Setting) -> str:
    if setting.required:
        return "required"
    return "not set by default" if setting.default is None else f"default {toml(setting.default, setting.kind)}"


def _document(row: Row) -> dict[str, Any]:
    settings = settings_of(row.cls) if row.cls else []
    return {
        "name": row.name,
        "state": row.state,
        "distribution": row.distribution,
        "use": row.use,
        "hooks": row.hooks,
        "why": row.why or None,
        "settings": [
            {
                "name": one.name,
                "kind": kind_words(one.kind),
                "required": one.required,
                "default": None if one.required else one.default,
                "about": one.about,
            }
            for one in settings
        ],
    }
