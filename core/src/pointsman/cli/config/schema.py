"""`pointsman config schema`: what a configuration may say, as JSON Schema, for editors.

Made from the classes that read it: those of `pointsman.config`, and those of the installed plugins.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import has

from pointsman.config import Config
from pointsman.hooks import ORDERED
from pointsman.plugins import classes
from pointsman.settings import Seconds, Secret, Share, Switch, UnitName

from ..output import print_json, say
from ..settings import (
    FROM_PYTHON,
    Setting,
    choices,
    is_array,
    is_table,
    item_kind,
    kind_words,
    members,
    settings_of,
)

Schema = dict[str, Any]

DRAFT = "http://json-schema.org/draft-07/schema#"
"""The newest one that editors of TOML know."""

_PLAIN: Mapping[str, Schema] = {
    "text": {"type": "string"},
    "true or false": {"type": "boolean"},
    "whole number": {"type": "integer"},
    "number": {"type": "number"},
    "anything": {},
}
_SECONDS: Schema = {
    "anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)? ?(ms|s|m|h|d)$"}]
}
_SECRET: Schema = {
    "anyOf": [
        {
            "type": "object",
            "properties": {key: {"type": "string", "description": about}},
            "required": [key],
            "additionalProperties": False,
        }
        for key, about in (("env", "The environment variable that holds it."), ("file", "The file that holds it."))
    ]
}


def _or_in_environment(plain: Schema) -> Schema:
    outside: Schema = {
        "type": "object",
        "properties": {
            "env": {"type": "string", "description": "The environment variable that says it."},
            "default": {**plain, "description": "What holds where the variable is not set."},
        },
        "required": ["env"],
        "additionalProperties": False,
    }
    return {"anyOf": [plain, outside]}


_OF_THEIR_OWN: tuple[tuple[Any, Schema], ...] = (
    (Seconds, _SECONDS),
    (Secret, _SECRET),
    (Share, _or_in_environment({"type": "number", "minimum": 0, "maximum": 100})),
    (Switch, _or_in_environment({"type": "boolean"})),
    (UnitName, {"type": ["string", "integer"]}),
)
_SWITCHES: Schema = {
    "enabled": {"type": "boolean", "default": True, "description": "Switches the plugin off."},
    "use": {"type": "string", "description": "The installed plugin that this is, under a name of its own."},
}
"""What the table of every plugin may say."""

_ANOTHER = "another plugin"


def run() -> None:
    """Prints the schema; what keeps a plugin out of it is said on stderr."""
    found, broken = classes()
    for name, why in broken.items():
        say(f"left out: {name}: {why}")
    print_json(schema(found))


def schema(plugins: Mapping[str, type]) -> Schema:
    """The schema of a configuration that can name these plugins."""
    whole = _table(settings_of(Config))
    sections: Schema = whole["properties"]
    sections["plugins"] |= {
        "type": "object",
        "properties": {name: _plugin(name, cls) for name, cls in plugins.items()},
        "additionalProperties": {"$ref": f"#/definitions/{_ANOTHER}"},
    }
    names: Schema = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
    sections["order"] |= {"properties": dict.fromkeys(ORDERED, names), "additionalProperties": False}
    return {
        "$schema": DRAFT,
        "title": "pointsman.toml",
        **whole,
        "definitions": {_ANOTHER: _another(plugins)},
    }


def _plugin(name: str, cls: type) -> Schema:
    """The table of a plugin, unless its `use` says that it is another one's."""
    settings = settings_of(cls)
    names = [*_SWITCHES, *(one.name for one in settings)]
    return {
        "type": "object",
        "description": _first_line(cls),
        # Outside of the choice, because that is where editors look for them.
        "properties": _SWITCHES | _properties(settings),
        "if": {"required": ["use"], "not": {"properties": {"use": {"const": name}}}},
        "then": {"$ref": f"#/definitions/{_ANOTHER}"},
        "else": _closed(settings, names),
    }


def _another(plugins: Mapping[str, type]) -> Schema:
    """A table whose name is no installed plugin's: it says in `use` whose settings it has."""
    uses: list[Schema] = []
    for name, cls in plugins.items():
        settings = settings_of(cls)
        own = _SWITCHES | {"use": {"const": name}} | _properties(settings)
        uses.append({"properties": own, **_closed(settings, [*_SWITCHES, *(one.name for one in settings)])})
    return {"type": "object", "required": ["use"], "anyOf": uses}


def _table(settings: list[Setting]) -> Schema:
    return {
        "type": "object",
        "properties": _properties(settings),
        **_closed(settings, (one.name for one in settings)),
    }


def _closed(settings: list[Setting], names: Iterable[str]) -> Schema:
    """That there are no other keys than these, and that those without a default are there."""
    required = [one.name for one in settings if one.required]
    return {"propertyNames": {"enum": list(names)}, **({"required": required} if required else {})}


def _properties(settings: list[Setting]) -> Schema:
    return {one.name: _described(one) for one in settings if _in_a_file(one.kind)}


def _in_a_file(kind: Any) -> bool:
    """Whether a file can hold a value of this kind."""
    return any(has(one) or kind_words(one) != FROM_PYTHON for one in members(kind))


def _described(setting: Setting) -> Schema:
    made = dict(_kind(setting.kind))
    if setting.about:
        made["description"] = setting.about
    if isinstance(setting.default, (bool, int, float, str)):
        made["default"] = setting.default
    return made


def _kind(kind: Any) -> Schema:
    """The schema of a value."""
    kinds = [one for one in members(kind) if _in_a_file(one)]
    if len(kinds) != 1:
        return {"anyOf": [_kind(one) for one in kinds]}
    (one,) = kinds
    for special, made in _OF_THEIR_OWN:
        if one == special:
            return made
    if (listed := choices(one)) is not None:
        return {"enum": listed}
    if is_array(one):
        return {"type": "array", "items": _kind(item_kind(one))}
    if is_table(one):
        return {"type": "object", "additionalProperties": _kind(item_kind(one))}
    if has(one):
        return _table(settings_of(one))
    return _PLAIN[kind_words(one)]


def _first_line(cls: type) -> str:
    return (cls.__doc__ or "").strip().split("\n", 1)[0]
