"""Tables to attrs classes, with every problem and its place in the table.

`kinds` reads the values; what is added here is problems that name a key path instead of a type.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeVar, cast

from attrs import fields
from cattrs import BaseValidationError, ClassValidationError, ForbiddenExtraKeysError, IterableValidationError

from .complaints import Complaint, KeyPath, suggest
from .kinds import converter
from .outside import OutsideError, SettingError

T = TypeVar("T")


def structure(
    table: object, cls: type[T], *, beside: Collection[str] = (), read_secrets: bool = True
) -> tuple[T | None, list[Complaint]]:
    """`table` as an instance of `cls`, or None and everything that is wrong with it.

    Raises what the class raises, unless that was raised to be read: then the class itself is at fault.

    `beside` are keys that somebody else has read from the table: they are suggested like its own.
    """
    try:
        return converter(read_secrets=read_secrets).structure(table, cls), []
    except BaseValidationError as error:
        return None, list(_complaints(error, (), table, beside=beside))
    except SettingError as error:
        return None, [Complaint((), str(error))]


def unquoted(path: KeyPath, value: object, settings: Collection[str] = ()) -> Complaint | None:
    """That a name needs quotes, where `path` ends with what looks like its first two parts.

    A dot without quotes begins a table inside another. `settings` are the keys of which some belong under the
    name; with none, what belongs there is no table.
    """
    whole = path
    while isinstance(value, Mapping):
        table = cast("Mapping[str, object]", value)
        if not table.keys().isdisjoint(settings):
            break
        if len(table) != 1:
            return None
        ((key, value),) = table.items()
        whole = (*whole, key)
    if isinstance(value, Mapping) != bool(settings):
        return None
    name = ".".join(map(str, whole[len(path) - 2 :]))
    return Complaint(whole, f'a name with a dot needs quotes; write "{name}"')


def _complaints(
    error: BaseException, path: KeyPath, table: object, *, named: bool = False, beside: Collection[str] = ()
) -> Iterator[Complaint]:
    """Every leaf of cattrs's error tree, with the keys that lead to it.

    `named`: the last key is a name that the user chose, not a setting.
    """
    if isinstance(error, ClassValidationError):
        yield from _in_class(error, path, cast("Mapping[str, object]", table), named=named, beside=beside)
    elif isinstance(error, IterableValidationError):
        with_notes, without = error.group_exceptions()
        for inner, note in with_notes:
            below = cast("Any", table)[note.index]
            yield from _complaints(inner, (*path, note.index), below, named=isinstance(note.index, str))
        for inner in without:
            yield Complaint(path, words(inner))
    else:
        split = _split_names(path, table, ()) if named and not isinstance(error, OutsideError) else []
        yield from split or [Complaint(path, words(error))]


def _in_class(
    error: ClassValidationError, path: KeyPath, table: Mapping[str, object], *, named: bool, beside: Collection[str]
) -> Iterator[Complaint]:
    settings = [a.name for a in fields(error.cl) if a.init]
    split = _split_names(path, table, settings) if named else []
    yield from split
    if split and table.keys().isdisjoint(settings):
        return  # there is nothing here but the rest of other names
    with_notes, without = error.group_exceptions()
    for inner in without:
        if isinstance(inner, ForbiddenExtraKeysError):
            for key in inner.extra_fields - {one.path[len(path)] for one in split}:
                yield Complaint((*path, key), f"unknown key; {suggest(key, (*settings, *beside))}")
        elif is_to_be_read(inner):
            yield _spoken(inner, path, settings)
        else:
            raise inner
    for inner, note in with_notes:
        if note.name in table:
            yield from _complaints(inner, (*path, note.name), table[note.name])
        else:
            yield Complaint((*path, note.name), "this key is required")


def _split_names(path: KeyPath, table: object, settings: Collection[str]) -> list[Complaint]:
    if not isinstance(table, Mapping):
        return []
    below = cast("Mapping[str, object]", table)
    found = [unquoted((*path, key), below[key], settings) for key in below if key not in settings]
    return [one for one in found if one is not None]


def _spoken(error: BaseException, path: KeyPath, settings: Collection[str]) -> Complaint:
    """What a validator said: by convention, and attrs's own do, it begins with the name of the setting."""
    message = words(error)
    named = re.match(r"'?(\w+)'?:?\s+", message)
    if named and named[1] in settings:
        return Complaint((*path, named[1]), message[named.end() :])
    return Complaint(path, message)


def words(error: BaseException) -> str:
    """What an exception says in one line; with its type, unless it was raised to be read."""
    return _first_line(error) if is_to_be_read(error) else typed_words(error)


def is_to_be_read(error: BaseException) -> bool:
    """Whether an exception was raised to say something to a person."""
    return isinstance(error, (ValueError, TypeError)) and _first_line(error) != ""


def typed_words(error: BaseException) -> str:
    """An exception's type, and what it says in one line."""
    said = _first_line(error)
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _first_line(error: BaseException) -> str:
    # attrs's validators append the attribute and the value to their arguments.
    text = error.args[0] if error.args and isinstance(error.args[0], str) else str(error)
    return next(iter(text.splitlines()), "")
