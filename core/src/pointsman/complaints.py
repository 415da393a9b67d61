"""What is wrong with a configuration, before anyone knows the file and the line."""

import json
import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import TypeAlias

from attrs import field, frozen

KeyPath: TypeAlias = tuple[str | int, ...]

MOST_NAMES = 15
"""A message lists no more allowed names than this."""


def printable(text: str) -> str:
    """The text without what a terminal would obey: line breaks, escape sequences, lone surrogates."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


@frozen
class Complaint:
    """Something wrong at a place in a table."""

    path: KeyPath
    message: str = field(converter=printable)


def nearest(word: object, allowed: Iterable[object]) -> str | None:
    """The allowed name that was probably meant."""
    names = [name for name in allowed if isinstance(name, str)]
    return next(iter(get_close_matches(word, names, n=1)), None) if isinstance(word, str) else None


def suggest(word: object, allowed: Iterable[object]) -> str:
    """The end of a message about a wrong name: the nearest allowed one, else all of them."""
    allowed = tuple(allowed)
    if close := nearest(word, allowed):
        return f'did you mean "{close}"?'
    names = sorted(map(str, allowed))
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"allowed: {', '.join(names[:MOST_NAMES])}{more}" if names else "nothing is allowed here"


def dotted(path: KeyPath) -> str:
    """A key path as TOML writes it, array places in brackets."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            bare = re.fullmatch(r"[A-Za-z0-9_-]+", part)
            text += ("." if text else "") + (part if bare else printable(json.dumps(part, ensure_ascii=False)))
    return text
