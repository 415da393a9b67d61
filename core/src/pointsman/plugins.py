"""Which plugins there are, and the instances that a configuration makes of them.

Plugins are found through entry points of the group `pointsman.v1`, each naming an attrs class.
One is active when the configuration names it; the code of the others is never imported. The
built-in policy is plugins too, active unless switched off.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from attrs import field, fields, frozen, has
from pluggy import HookimplOpts, HookspecOpts, PluginManager, PluginValidationError

from .complaints import Complaint, KeyPath, suggest
from .convert import structure, typed_words, unquoted, words
from .hookspecs import CONCERNS, PROJECT
from .implementations import hook_faults
from .kinds import is_plain
from .outside import described
from .policy import BUILT_IN, ON_DEMAND

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "pointsman.v1"

Search: TypeAlias = "Callable[[], dict[str, list[EntryPoint]]]"


@frozen(kw_only=True)
class Plugin:
    """One active plugin."""

    name: str
    instance: object = field(repr=False)
    built_in: bool
    distribution: str | None = None
    """Name and version of where it came from; None for built-ins and objects given in code."""


def installed() -> "dict[str, list[EntryPoint]]":
    """Every installed plugin by name. More than one entry means that distributions clash."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - it loads half the standard library

    found: dict[str, list[EntryPoint]] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        found.setdefault(entry.name, []).append(entry)
    return found


def build(
    tables: Mapping[str, object], earlier: Iterable[Plugin] = (), *, read_secrets: bool = True
) -> tuple[list[Plugin], list[Complaint]]:
    """The active plugins, built-ins first, then in the file's order; and what is wrong, by key path.

    Where class and settings are those of an `earlier` plugin of that name, it is carried over with its state.
    """
    known = {plugin.name: plugin for plugin in earlier}
    search = cache(installed)  # once, and only where a plugin is looked for
    plugins: list[Plugin] = []
    complaints: list[Complaint] = []
    wanted = [name for name in BUILT_IN if name in tables or name not in ON_DEMAND]
    for name in (*wanted, *(name for name in tables if name not in BUILT_IN)):
        try:
            plugin = (
                _build_one(name, tables[name], search, read_secrets=read_secrets) if name in tables else _default(name)
            )
        except _Wrong as wrong:
            complaints += wrong.complaints
        else:
            plugins += [_carried_over(plugin, known.get(name))] if plugin else []
    return plugins, [Complaint(("plugins", *one.path), one.message) for one in complaints]


def classes(*names: str) -> tuple[dict[str, type], dict[str, str]]:
    """The classes of these plugins, or of all that are installed or built in; and why the others have none, by name."""
    search = cache(installed)
    found: dict[str, type] = {}
    broken: dict[str, str] = {}
    for name in names or dict.fromkeys((*BUILT_IN, *search())):
        try:
            found[name], _ = _find(name, search, (), {})
        except _Wrong as wrong:
            broken[name] = "; ".join(one.message for one in wrong.complaints)
    return found, broken


def register(plugins: list[Plugin]) -> tuple[PluginManager, list[Complaint]]:
    """A pluggy manager with every plugin that has no fault, and what is wrong with the others, by key path."""
    manager = _Manager(PROJECT)
    for concern in CONCERNS:
        manager.add_hookspecs(concern)
    complaints: list[Complaint] = []
    for plugin in plugins:
        faults = hook_faults(plugin.instance)
        twin = next((name for name, other in manager.list_name_plugin() if other is plugin.instance), None)
        if twin is not None:
            faults.append(f'the same object is plugin "{twin}" already; make one for each name')
        if not faults:
            try:
                manager.register(plugin.instance, plugin.name)
            except PluginValidationError as error:
                faults.append(words(error))
        complaints += [Complaint(("plugins", plugin.name), f"{_origin(plugin)}: {fault}") for fault in faults]
    return manager, complaints


class _Manager(PluginManager):
    """Looks for no hook in `__init__` and its like, which would take most of the time of making a router."""

    def parse_hookimpl_opts(self, plugin: object, name: str) -> HookimplOpts | None:
        return None if name.startswith("__") else super().parse_hookimpl_opts(plugin, name)

    def parse_hookspec_opts(self, module_or_class: type | ModuleType, name: str) -> HookspecOpts | None:
        return None if name.startswith("__") else super().parse_hookspec_opts(module_or_class, name)


def _carried_over(plugin: Plugin, earlier: Plugin | None) -> Plugin:
    """The earlier plugin, where this one would be the same again."""
    if earlier is None or type(earlier.instance) is not type(plugin.instance) or not has(type(plugin.instance)):
        return plugin
    settings = [a.name for a in fields(type(plugin.instance)) if a.init]
    same = all(getattr(plugin.instance, name) == getattr(earlier.instance, name) for name in settings)
    return earlier if same else plugin


class _Wrong(Exception):
    def __init__(self, *complaints: Complaint) -> None:
        self.complaints = complaints


def _default(name: str) -> Plugin:
    return Plugin(name=name, instance=BUILT_IN[name](), built_in=True)


def _build_one(name: str, given: object, search: Search, *, read_secrets: bool) -> Plugin | None:
    if not isinstance(given, Mapping):
        return Plugin(name=name, instance=_named(name, _finished(name, given)), built_in=name in BUILT_IN)
    table = dict(cast("Mapping[str, object]", given))
    enabled = table.pop("enabled", True)
    if not isinstance(enabled, bool):
        raise _Wrong(Complaint((name, "enabled"), f"expected true or false, got {described(enabled)}"))
    if not enabled:
        return None
    used = table.pop("use", name)
    if not isinstance(used, str):
        raise _Wrong(Complaint((name, "use"), f"expected the name of an installed plugin, got {described(used)}"))
    place = (name, "use") if "use" in given else (name,)
    cls, offered_by = _find(used, search, place, table)
    try:
        instance, complaints = structure(table, cls, beside=("enabled", "use"), read_secrets=read_secrets)
    except (Exception, SystemExit) as error:
        broken = f"is broken: it cannot be made from its settings: {typed_words(error)}; reinstall or upgrade it"
        raise _Wrong(Complaint(place, f"{offered_by or cls.__qualname__} {broken}")) from error
    if complaints:
        raise _Wrong(*(Complaint((name, *one.path), _said(one, offered_by or cls.__qualname__)) for one in complaints))
    return Plugin(name=name, instance=_named(name, instance), built_in=name in BUILT_IN, distribution=offered_by)


def _said(complaint: Complaint, origin: str) -> str:
    """What a plugin's class says of its settings; with its name, where it names none of them."""
    return complaint.message if complaint.path else f"{origin} refuses these settings: {complaint.message}"


def _named(name: str, instance: object) -> object:
    """The plugin, told its name where it has a field for that, before anyone asks it anything."""
    cls = type(instance)
    if has(cls) and "name" in {a.name for a in fields(cls) if not a.init}:
        cast("Any", instance).name = name
    return instance


def _finished(name: str, given: object) -> object:
    """A plugin object that was made in code."""
    if isinstance(given, type):
        message = f"expected an object, got the class {given.__name__}; write {given.__name__}(...)"
        raise _Wrong(Complaint((name,), message))
    if is_plain(given):
        message = f"expected a table of settings, which may be empty, got {described(given)}"
        raise _Wrong(Complaint((name,), message))
    return given


def _find(used: str, search: Search, place: KeyPath, table: Mapping[str, object]) -> tuple[type[object], str | None]:
    """The class of the plugin `used`, and the distribution that it came from."""
    offers = search().get(used, [])
    if used in BUILT_IN and not offers:
        return BUILT_IN[used], None
    if not offers:
        raise _Wrong(_not_found(used, search, place, table))
    if len(offers) > 1 or used in BUILT_IN:
        all_of_them = [*(["pointsman itself"] if used in BUILT_IN else []), *map(distribution, offers)]
        message = f'{" and ".join(all_of_them)} offer the same plugin "{used}"; uninstall all but one'
        raise _Wrong(Complaint(place, message))
    return _loaded(offers[0], place), distribution(offers[0])


def _not_found(used: str, search: Search, place: KeyPath, table: Mapping[str, object]) -> Complaint:
    for key in table:
        if split := unquoted((used, key), table[key], ("use",)):
            return split
    known = [*search(), *BUILT_IN]
    by_convention = f"pointsman-{used.replace('_', '-')}"
    remedies = f"install what offers it, by convention {by_convention}, or remove the table; {suggest(used, known)}"
    return Complaint(place, f'no plugin "{used}" is installed; {remedies}')


def _loaded(entry: "EntryPoint", place: KeyPath) -> type[object]:
    """The class that an entry point names; its code runs here for the first time."""
    fault = f"{distribution(entry)} is broken: {entry.value}"
    try:
        cls = entry.load()
    except (Exception, SystemExit) as error:
        message = f"{fault} cannot be imported: {typed_words(error)}; reinstall or upgrade it"
        raise _Wrong(Complaint(place, message)) from error
    if not isinstance(cls, type) or not has(cls):
        raise _Wrong(Complaint(place, f"{fault} is not an attrs class; its author can say @define(eq=False)"))
    return cls


def distribution(entry: "EntryPoint") -> str:
    """The name and version of where an entry point came from."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unnamed distribution"


def _origin(plugin: Plugin) -> str:
    cls = type(plugin.instance)
    return f"{cls.__module__}.{cls.__qualname__}" + (f" ({plugin.distribution})" if plugin.distribution else "")
