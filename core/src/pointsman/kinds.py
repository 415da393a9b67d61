"""Every kind of value that a setting can have, each read strictly.

cattrs does the work; what is added here is strictness (a number is not taken for text, nor text for
an array), the two setting types `Seconds` and `Secret`, and words that say what to write instead.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from enum import Enum
from functools import cache
from pathlib import Path
from sys import float_info
from types import MappingProxyType, NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from attrs import fields, has
from cattrs import BaseValidationError, ClassValidationError, Converter
from cattrs.cols import (
    homogenous_tuple_structure_factory,
    mapping_structure_factory,  # pyright: ignore[reportUnknownVariableType] - two of its parameters have no type
)
from cattrs.gen import make_dict_structure_fn

from .complaints import suggest
from .outside import OutsideError, SettingError, described, secret, share, switch
from .settings import Seconds, Secret, Share, Switch, UnitName

Hook = Callable[[Any, Any], Any]


def is_plain(value: object) -> bool:
    """Whether a value could stand in a file, so that it is no object made for the purpose."""
    return type(value).__module__ in ("builtins", "datetime") and not callable(value)


def _only(kinds: type | tuple[type, ...], wanted: str, hook: Hook = lambda value, _: value) -> Hook:
    """`hook`, for values of these kinds only: cattrs would take text for an array, and more."""

    def check(value: Any, cls: Any) -> Any:
        if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
            raise SettingError(f"expected {wanted}, got {described(value)}")
        return hook(value, cls)

    return check


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def _seconds(value: Any, _: Any) -> float:
    seconds: float | None = None
    if isinstance(value, str):
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?(ms|s|m|h|d)", value)
        if match:
            seconds = float(match[1]) * _UNITS[match[2]]
    elif isinstance(value, int | float) and not isinstance(value, bool) and value <= float_info.max:
        seconds = float(value)
    if seconds is None or not 0 <= seconds < float("inf"):
        raise SettingError('expected a duration: 0 or more seconds, or text such as "500ms", "60s", "2m"')
    return seconds


def _unit(value: Any, _: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise SettingError(f"expected a unit, text or a whole number, got {described(value)}")
    return str(value)


def _one_of(value: Any, cls: Any) -> Any:
    allowed: tuple[object, ...] = get_args(cls)
    if not any(value == one and type(value) is type(one) for one in allowed):
        raise SettingError(f"not one of the allowed values; {suggest(value, allowed)}")
    return value


def _member(value: Any, cls: type[Enum]) -> Enum:
    try:
        return cls(value)
    except ValueError:
        raise SettingError(f"not one of the allowed values; {suggest(value, [one.value for one in cls])}") from None


@cache
def converter(*, read_secrets: bool = True) -> Converter:
    """The converter, made at the first use: importing pointsman does not pay for it.

    Without `read_secrets` no secret's place is looked into: each has the value `UNREAD`, and its origin.
    """
    made = Converter(detailed_validation=True, forbid_extra_keys=True, structure_fallback_factory=_from_python)
    text = _only(str, "text")
    made.register_structure_hook(str, text)
    made.register_structure_hook(bool, _only(bool, "true or false"))
    made.register_structure_hook(int, _only(int, "a whole number"))
    made.register_structure_hook(float, _only((int, float), "a number"))
    made.register_structure_hook(Path, lambda value, _: value if isinstance(value, Path) else Path(text(value, str)))
    made.register_structure_hook(Secret, lambda value, _: secret(value, read=read_secrets))
    made.register_structure_hook_func(lambda cls: cls is Seconds, _seconds)
    made.register_structure_hook_func(lambda cls: cls == Share, share)
    made.register_structure_hook_func(lambda cls: cls == Switch, switch)
    made.register_structure_hook_func(lambda cls: cls == UnitName, _unit)
    made.register_structure_hook_func(lambda cls: cls is object, lambda value, _: value)
    made.register_structure_hook_func(lambda cls: get_origin(cls) is Literal, _one_of)
    made.register_structure_hook_func(lambda cls: isinstance(cls, type) and issubclass(cls, Enum), _member)
    made.register_structure_hook_factory(_is_choice, _choice)
    made.register_structure_hook_factory(_is_array, _array)
    made.register_structure_hook_factory(lambda cls: (get_origin(cls) or cls) in (dict, Mapping), _table)
    made.register_structure_hook_factory(has, _attrs_class)
    return made


def _from_python(cls: Any) -> Hook:
    """For kinds that no file can hold, such as a function: whoever sets one from Python has a type checker."""

    def check(value: Any, _: Any) -> Any:
        if is_plain(value) and type(value) is not cls:
            raise SettingError("this setting can only be given from Python")
        return value

    return check


_ARRAYS: Mapping[Any, Callable[[tuple[Any, ...]], Any]] = {
    tuple: tuple,
    Sequence: tuple,
    list: list,
    set: set,
    AbstractSet: frozenset,
    frozenset: frozenset,
}


def _is_array(cls: Any) -> bool:
    origin = get_origin(cls) or cls
    return origin in _ARRAYS and (origin is not tuple or get_args(cls)[1:] in ((), (...,)))


def _array(cls: Any, made: Converter) -> Hook:
    items = tuple[(get_args(cls) or (object,))[0], ...]
    read = homogenous_tuple_structure_factory(items, made)
    finish = _ARRAYS[get_origin(cls) or cls]
    return _only((list, tuple, AbstractSet), "an array", lambda value, _: finish(read(value, items)))


def _table(cls: Any, made: Converter) -> Hook:
    return _only(Mapping, "a table", mapping_structure_factory(cls, made, structure_to=MappingProxyType))


def _attrs_class(cls: Any, made: Converter) -> Hook:
    fill = make_dict_structure_fn(cls, made, _cattrs_forbid_extra_keys=True, _cattrs_detailed_validation=True)

    def fill_or_refuse(table: Any, _: Any) -> Any:
        try:
            return fill(table, cls)
        except ClassValidationError as error:
            said = {str(one) for one in error.exceptions}
            more = [one for one in _refusals(cls, table, made) if str(one) not in said]
            raise error.derive([*error.exceptions, *more]) from None

    from_table = _only(Mapping, "a table", fill_or_refuse)
    return lambda value, _: value if isinstance(value, cls) else from_table(value, cls)


def _refusals(cls: Any, table: Mapping[str, Any], made: Converter) -> list[Exception]:
    """What the validators of a class say of a table: its constructor stops at the first, and needs every field."""
    unfinished = object.__new__(cls)  # a validator that looks at other fields is left to the constructor
    refusals: list[Exception] = []
    for setting in fields(cls):
        if setting.name not in table or setting.validator is None or setting.converter is not None:
            continue
        with suppress(Exception):  # what cannot be read, cattrs has said
            value = made.structure(table[setting.name], setting.type)
            try:
                setting.validator(unfinished, setting, value)
            except (ValueError, TypeError) as refusal:
                refusals.append(refusal)
    return refusals


def _is_choice(cls: Any) -> bool:
    return get_origin(cls) in (Union, UnionType) and len(set(get_args(cls)) - {NoneType}) > 1


def _choice(cls: Any, made: Converter) -> Hook:
    """Whichever member reads the value first; strict members leave no doubt which."""
    members = [(kind, made.get_structure_hook(kind)) for kind in get_args(cls) if kind is not NoneType]

    def read(value: Any, _: Any) -> Any:
        if value is None and NoneType in get_args(cls):
            return None
        wrong: list[Exception] = []
        for kind, hook in members:
            try:
                return hook(value, kind)
            except (SettingError, BaseValidationError) as error:
                wrong.append(error)
        inside = [error for error in wrong if isinstance(error, BaseValidationError | OutsideError)]
        raise inside[0] if inside else SettingError(", or ".join(map(str, wrong)))

    return read
