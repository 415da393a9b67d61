"""Which plugins there are, and the instances that a configuration makes of them.

Plugins are found through entry points of the group `pointsman.v1`, each naming an attrs class.
One is active when the configuration names it; the code of the others is never imported. The
built-in policy is plugins too, active unless switched off.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

from attrs import fields, frozen, has
from pluggy import PluginManager, PluginValidationError

from .convert import Complaint, structure, suggest
from .hooks import hook_faults, spec_names
from .hookspecs import CONCERNS, PROJECT
from .policy import BUILT_IN

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "pointsman.v1"


@frozen(kw_only=True)
class Plugin:
    """One active plugin."""

    name: str
    instance: object
    built_in: bool
    distribution: str | None = None
    """Name and version of where it came from; None for built-ins and objects given in code."""


def installed() -> "dict[str, list[EntryPoint]]":
    """Every installed plugin by name. More than one entry means that distributions clash."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - it loads half the standard library

    found: dict[str, dict[tuple[str, str], EntryPoint]] = {}
    for entry in entry_points(group=GROUP):
        # One distribution can be listed twice, by way of two folders on the path: that is no clash.
        found.setdefault(entry.name, {}).setdefault((_distribution(entry), entry.value), entry)
    return {name: list(entries.values()) for name, entries in sorted(found.items())}


def build(tables: Mapping[str, object]) -> tuple[list[Plugin], list[Complaint]]:
    """The active plugins, built-ins first, then in the file's order; and what is wrong, by key path."""
    plugins: list[Plugin] = []
    complaints: list[Complaint] = []
    for name in (*BUILT_IN, *(name for name in tables if name not in BUILT_IN)):
        try:
            plugin = _build_one(name, tables.get(name, {}))
        except _Wrong as wrong:
            complaints += wrong.complaints
        else:
            plugins += [plugin] if plugin else []
    return plugins, [Complaint(("plugins", *one.path), one.message) for one in complaints]


def register(plugins: list[Plugin]) -> tuple[PluginManager, list[Complaint]]:
    """A pluggy manager that has checked every plugin, and what is wrong, by key path."""
    manager = PluginManager(PROJECT)
    for concern in CONCERNS:
        manager.add_hookspecs(concern)
    complaints: list[Complaint] = []
    for plugin in plugins:
        faults = list(hook_faults(plugin.instance))
        if not faults:
            try:
                manager.register(plugin.instance, plugin.name)
                manager.check_pending()
            except PluginValidationError as error:
                faults = list(_explained(error))
        if faults and manager.has_plugin(plugin.name):
            manager.unregister(name=plugin.name)
        complaints += [Complaint(("plugins", plugin.name), f"{_origin(plugin)}: {fault}") for fault in faults]
    return manager, complaints


class _Wrong(Exception):
    def __init__(self, *complaints: Complaint) -> None:
        self.complaints = complaints


def _build_one(name: str, given: object) -> Plugin | None:
    built_in = name in BUILT_IN
    if not isinstance(given, Mapping):
        return Plugin(name=name, instance=given, built_in=built_in)
    table = dict(cast("Mapping[str, object]", given))
    enabled = table.pop("enabled", True)
    if not isinstance(enabled, bool):
        raise _Wrong(Complaint((name, "enabled"), "expected true or false"))
    if not enabled:
        return None
    used = table.pop("use", name)
    if not isinstance(used, str):
        raise _Wrong(Complaint((name, "use"), "expected the name of an installed plugin"))
    cls, distribution = _find(name, used, has_use="use" in given)
    instance, complaints = structure(table, cast("type[object]", cls))
    if complaints:
        raise _Wrong(*(Complaint((name, *one.path), one.message) for one in complaints))
    if "name" in {a.name for a in fields(cls) if not a.init}:
        cast("Any", instance).name = name
    return Plugin(name=name, instance=instance, built_in=built_in, distribution=distribution)


def _find(name: str, used: str, *, has_use: bool) -> tuple[type, str | None]:
    """The class of the plugin `used`, and the distribution that it came from."""
    place = (name, "use") if has_use else (name,)
    if used in BUILT_IN:
        return BUILT_IN[used], None
    found = installed()
    entries = found.get(used, [])
    if not entries:
        known = [*found, *BUILT_IN]
        remedy = f"install it (pip install pointsman-{used.replace('_', '-')}), or remove the table"
        raise _Wrong(Complaint(place, f'no installed plugin is called "{used}"; {suggest(used, known)} Else {remedy}'))
    if len(entries) > 1:
        both = " and ".join(_distribution(entry) for entry in entries)
        raise _Wrong(Complaint(place, f'{both} both offer "{used}"; uninstall one of them'))
    (entry,) = entries
    origin = _distribution(entry)
    try:
        cls = entry.load()
    except Exception as error:
        cause = f"{type(error).__name__}: {error}"
        raise _Wrong(
            Complaint(place, f"{origin} is broken: loading {entry.value} raised {cause}; reinstall or upgrade it")
        ) from error
    if not isinstance(cls, type) or not has(cls):
        raise _Wrong(Complaint(place, f"{origin} is broken: {entry.value} is not an attrs class"))
    return cls, origin


def _distribution(entry: "EntryPoint") -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unnamed distribution"


def _origin(plugin: Plugin) -> str:
    cls = type(plugin.instance)
    return f"{cls.__module__}.{cls.__qualname__}" + (f" ({plugin.distribution})" if plugin.distribution else "")


def _explained(error: PluginValidationError) -> Iterator[str]:
    """Says pluggy's refusal in the plugin author's terms."""
    text = str(error)
    if "unknown hook" in text:
        hook = text.split("unknown hook ", 1)[1].split("'")[1]
        yield f"@hookimpl {hook} is no hook; {suggest(hook, spec_names())}"
    elif "Argument(s)" in text:
        names = text[text.index("{") + 1 : text.index("}")].replace("'", "")
        definition = text.split("impl definition: ", 1)[1].split("(", 1)[0]
        yield f"{definition} takes {names}, which its hook does not have; {_signature(definition)}"
    else:
        yield text.splitlines()[0]


def _signature(hook: str) -> str:
    return f"its arguments are: {', '.join(spec_names()[hook])}"
