"""Tables to attrs classes, strictly, with every problem and its place in the table.

cattrs does the work; what is added here is strictness (a number is not taken for text), the two
setting types `Seconds` and `Secret`, and problems that name a key path instead of a type.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar, cast, get_args, get_origin

from attrs import fields, frozen, has
from cattrs import (
    BaseValidationError,
    ClassValidationError,
    Converter,
    ForbiddenExtraKeysError,
    IterableValidationError,
)
from cattrs.cols import (
    homogenous_tuple_structure_factory,
    mapping_structure_factory,  # pyright: ignore[reportUnknownVariableType] - two of its parameters have no type
)
from cattrs.gen import make_dict_structure_fn

from .settings import Seconds, Secret

T = TypeVar("T")
KeyPath = tuple[str | int, ...]


@frozen
class Complaint:
    """Something wrong at a place in a table, before anyone knows the file and the line."""

    path: KeyPath
    message: str


class SettingError(ValueError):
    """A value that a setting cannot have; the message says what to write instead."""


def suggest(word: object, allowed: Iterable[str]) -> str:
    """The end of a message about a wrong name: the nearest allowed one, else all of them."""
    names = sorted(allowed)
    close = get_close_matches(str(word), names, n=1, cutoff=0.6)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"allowed: {', '.join(names)}" if names else "nothing is allowed here"


def structure(table: object, cls: type[T]) -> tuple[T | None, list[Complaint]]:
    """`table` as an instance of `cls`, or None and everything that is wrong with it."""
    try:
        return _converter().structure(table, cls), []
    except BaseValidationError as error:
        return None, list(_complaints(error, (), table))
    except SettingError as error:
        return None, [Complaint((), str(error))]


def _complaints(error: BaseException, path: KeyPath, table: object) -> Iterable[Complaint]:
    """Every leaf of cattrs's error tree, with the keys that lead to it."""
    if isinstance(error, ClassValidationError):
        with_notes, without = error.group_exceptions()
        for inner, note in with_notes:
            yield from _complaints(inner, (*path, note.name), _below(table, note.name))
        for inner in without:
            yield from _class_complaints(inner, path, error.cl, table)
    elif isinstance(error, IterableValidationError):
        with_notes, without = error.group_exceptions()
        for inner, note in with_notes:
            yield from _complaints(inner, (*path, note.index), _below(table, note.index))
        for inner in without:
            yield Complaint(path, str(inner))
    elif isinstance(error, KeyError):
        yield Complaint(path, "this key is required")
    else:
        yield Complaint(path, str(error))


def _class_complaints(error: BaseException, path: KeyPath, cls: type, table: object) -> Iterable[Complaint]:
    settings = [a.name for a in fields(cls) if a.init]
    if isinstance(error, ForbiddenExtraKeysError):
        for key in error.extra_fields:
            value = _below(table, key)
            if isinstance(value, Mapping) and path and isinstance(path[-1], str):
                name = f'"{path[-1]}.{key}"'
                message = (
                    f"unknown key. If the name is {name}, quote it: without quotes a dot begins a table inside another"
                )
            else:
                message = f"unknown key; {suggest(key, settings)}"
            yield Complaint((*path, key), message)
        return
    # A validator of the class spoke: by convention it begins with the name of the setting.
    named = re.match(r"\w+", str(error))
    if named and named.group() in settings:
        yield Complaint((*path, named.group()), str(error)[named.end() :].lstrip(": "))
    else:
        yield Complaint(path, str(error))


def _below(table: object, key: str | int) -> object:
    try:
        return cast("Any", table)[key]
    except (KeyError, IndexError, TypeError):
        return None


def _strict(kind: type | tuple[type, ...], wanted: str) -> Callable[[Any, Any], Any]:
    def check(value: Any, _: Any) -> Any:
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise SettingError(f"expected {wanted}, got {_described(value)}")
        return value

    return check


_KINDS = {
    "bool": "a boolean",
    "int": "a number",
    "float": "a number",
    "str": "text",
    "list": "an array",
    "dict": "a table",
}


def _described(value: object) -> str:
    """A value for an error message: its kind, never its content, which may be a key in the wrong place."""
    kind = type(value).__name__
    return _KINDS.get(kind, kind)


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def _seconds(value: Any, _: Any) -> float:
    seconds: float | None = None
    if isinstance(value, str):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)", value.strip())
        if match:
            seconds = float(match[1]) * _UNITS[match[2]]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    if seconds is None or not 0 <= seconds < float("inf"):
        raise SettingError('expected a duration: a number of seconds, or text such as "500ms", "60s", "2m"')
    return seconds


def _secret(value: Any, _: Any) -> Secret:
    if isinstance(value, Secret):
        return value
    if isinstance(value, Mapping) and len(cast("Mapping[str, object]", value)) == 1:
        ((kind, name),) = cast("Mapping[str, object]", value).items()
        if kind == "env" and isinstance(name, str):
            if not (found := os.environ.get(name)):
                raise SettingError(
                    f"environment variable {name} is not set (or empty); set it before the program starts"
                )
            return Secret(found, f"environment variable {name}")
        if kind == "file" and isinstance(name, str):
            try:
                found = Path(name).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
                raise SettingError(f"file {name} cannot be read: {reason}") from None
            if not found:
                raise SettingError(f"file {name} is empty")
            return Secret(found, f"file {name}")
    raise SettingError('expected { env = "NAME" } or { file = "PATH" }; a key is not written into a configuration')


def _one_of(value: Any, cls: Any) -> Any:
    allowed: tuple[object, ...] = get_args(cls)
    if not any(value == one and type(value) is type(one) for one in allowed):
        raise SettingError(f"not one of the allowed values; {suggest(value, [str(one) for one in allowed])}")
    return value


def _only(kinds: tuple[type, ...], wanted: str, hook: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """`hook`, for values of these kinds only: cattrs would take text for an array, and more."""

    def check(value: Any, cls: Any) -> Any:
        if not isinstance(value, kinds):
            raise SettingError(f"expected {wanted}, got {_described(value)}")
        return hook(value, cls)

    return check


@cache
def _converter() -> Converter:
    """The converter, made at the first use: importing pointsman does not pay for it."""
    made = Converter(detailed_validation=True, forbid_extra_keys=True)
    for kind, wanted in ((str, "text"), (bool, "true or false"), (int, "a whole number")):
        made.register_structure_hook(kind, _strict(kind, wanted))
    made.register_structure_hook(float, _strict((int, float), "a number"))
    made.register_structure_hook(Secret, _secret)
    made.register_structure_hook_func(lambda cls: cls is Seconds, _seconds)
    made.register_structure_hook_func(lambda cls: cls is object, lambda value, _: value)
    made.register_structure_hook_func(lambda cls: get_origin(cls) is Literal, _one_of)
    made.register_structure_hook_func(lambda cls: get_origin(cls) is Callable, _from_python_only)

    def array(cls: Any, made: Converter) -> Callable[[Any, Any], Any]:
        return _only((list, tuple), "an array", homogenous_tuple_structure_factory(cls, made))

    def table(cls: Any, made: Converter) -> Callable[[Any, Any], Any]:
        return _only((Mapping,), "a table", mapping_structure_factory(cls, made, structure_to=MappingProxyType))

    def attrs_class(cls: Any, made: Converter) -> Callable[[Any, Any], Any]:
        fill = make_dict_structure_fn(cls, made, _cattrs_forbid_extra_keys=True, _cattrs_detailed_validation=True)
        from_table = _only((Mapping,), "a table", fill)
        return lambda value, _: value if isinstance(value, cls) else from_table(value, cls)

    made.register_structure_hook_factory(_is_array, array)
    made.register_structure_hook_factory(lambda cls: get_origin(cls) in (dict, Mapping), table)
    made.register_structure_hook_factory(has, attrs_class)
    return made


def _from_python_only(value: Any, _: Any) -> Any:
    if not callable(value):
        raise SettingError("this setting can only be given from Python")
    return value


def _is_array(cls: Any) -> bool:
    return get_origin(cls) is tuple and get_args(cls)[-1:] == (Ellipsis,)
