"""What a class of settings has to say for itself: each setting's kind, default and meaning."""

import ast
import inspect
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from functools import cache
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from attrs import NOTHING, Attribute, Factory, fields, frozen, resolve_types

from pointsman.settings import Seconds, Secret, Share, Switch, UnitName

_FACTORY: Any = Factory  # attrs gives the class the type of a function
FROM_PYTHON = "from Python only"
"""The kind of what no file can hold."""

_NAMES: Mapping[object, str] = {
    str: "text",
    Path: "text",
    bool: "true or false",
    int: "whole number",
    float: "number",
    Seconds: "duration",
    Secret: "secret",
    Share: "share",
    Switch: "switch",
    UnitName: "unit",
    object: "anything",
    Any: "anything",
}


@frozen(kw_only=True)
class Setting:
    """One key of a table."""

    name: str
    kind: Any
    """The type that the class gives it."""
    default: object
    """`NOTHING` where it is required."""
    about: str
    """Its docstring in one line, or nothing."""
    shown: bool
    """False where the class keeps it out of its repr: it may hold a key."""

    @property
    def required(self) -> bool:
        """Whether a table without it is refused."""
        return self.default is NOTHING


def settings_of(cls: type) -> list[Setting]:
    """The settings of an attrs class, in its order."""
    resolve_types(cls)
    about = _docstrings(cls)
    return [
        Setting(
            name=one.name,
            kind=one.type if one.type is not None else object,
            default=_default(one),
            about=about.get(one.name, ""),
            shown=one.repr is not False,
        )
        for one in fields(cls)
        if one.init
    ]


def _default(attribute: "Attribute[object]") -> object:
    default: Any = attribute.default
    if isinstance(default, _FACTORY):
        return None if default.takes_self else default.factory()
    return default


def members(kind: Any) -> list[Any]:
    """What a value of this kind may be, None left out."""
    if get_origin(kind) in (Union, UnionType):
        return [one for one in get_args(kind) if one is not NoneType]
    return [kind]


def is_array(kind: Any) -> bool:
    """Whether the kind is written as an array."""
    return (get_origin(kind) or kind) in (tuple, list, set, frozenset, Sequence, AbstractSet)


def is_table(kind: Any) -> bool:
    """Whether the kind is written as a table of names that the user chooses."""
    return (get_origin(kind) or kind) in (dict, Mapping)


def item_kind(kind: Any) -> Any:
    """The kind of what an array or a table holds."""
    inner = get_args(kind)
    return object if not inner else inner[1] if is_table(kind) else inner[0]


def choices(kind: Any) -> list[Any] | None:
    """The values that a kind lists, or None where it lists none."""
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [one.value for one in kind]
    return None


def kind_words(kind: Any) -> str:
    """A kind in the words of a configuration: `duration`, `array of text`, `"eu" or "us"`."""
    words = dict.fromkeys(_one_kind(one) for one in members(kind))
    if len(words) > 1:
        words.pop(FROM_PYTHON, None)
    return " or ".join(words)


def _one_kind(kind: Any) -> str:
    if (listed := choices(kind)) is not None:
        return " or ".join(f'"{one}"' if isinstance(one, str) else str(one) for one in listed)
    if is_array(kind):
        return f"array of {kind_words(item_kind(kind))}"
    if is_table(kind):
        return f"table of {kind_words(item_kind(kind))}"
    return _NAMES.get(kind, FROM_PYTHON)


def _docstrings(cls: type) -> dict[str, str]:
    """What stands in quotes below each setting, of the class and of those that it inherits."""
    found: dict[str, str] = {}
    for one in reversed(cls.__mro__[:-1]):
        found |= _own_docstrings(one)
    return found


@cache
def _own_docstrings(cls: type) -> dict[str, str]:
    try:
        tree = ast.parse(dedent(inspect.getsource(cls)))
    except (OSError, TypeError, SyntaxError):
        return {}  # made at run time, or shipped without its source
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    found: dict[str, str] = {}
    for setting, below in pairwise(body):
        match setting, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                found[name] = " ".join(text.split())
            case _:
                pass
    return found
