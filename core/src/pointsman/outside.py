"""Values that stand outside of the configuration, which only names the place: an environment variable, or a file.

They are read when the configuration is, and again when it is reloaded.
"""

import os
import re
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any, cast

from .settings import Secret


class SettingError(ValueError):
    """A value that a setting cannot have; the message says what to write instead."""


class OutsideError(SettingError):
    """The place of a value is named as it should be, and holds none that can be used."""


_WORDS = {
    "bool": "a boolean",
    "int": "a number",
    "float": "a decimal number",
    "str": "text",
    "list": "an array",
    "dict": "a table",
    "date": "a date",
    "datetime": "a date",
    "time": "a time",
    "NoneType": "nothing",
}


def described(value: object) -> str:
    """A value for an error message: its kind, never its content, which may be a key in the wrong place."""
    kind = type(value).__name__
    return _WORDS.get(kind, kind)


UNREAD = "not-read"
"""The value of every secret of a configuration that was read without them. It can stand in a header."""


def secret(value: Any, *, read: bool) -> Secret:
    """A secret, from where it stands; with `UNREAD` in its place unless it is to be `read`."""
    if isinstance(value, Secret):
        return value
    match value:
        case {"env": str(name), **rest} if not rest:
            return _from_environment(name) if read else Secret(UNREAD, _variable(name))
        case {"file": str(name), **rest} if not rest:
            return _from_file(name) if read else Secret(UNREAD, "a file")
        case _:
            raise SettingError(
                'expected { env = "NAME" } or { file = "PATH" }, or from Python a Secret; '
                "a key is never written into a configuration"
            )


def _from_environment(name: str) -> Secret:
    if found := os.environ.get(name):
        return Secret(found, f"environment variable {name}")
    raise OutsideError(f"{_variable(name)} is not set, or empty; set it before the program starts")


def _variable(name: str) -> str:
    # What does not look like a variable's name is probably the key itself, which no message may show.
    return f"environment variable {name}" if re.fullmatch(r"[A-Z_][A-Z0-9_]*", name) else "the variable named here"


def _from_file(name: str) -> Secret:
    # The name is not shown, as above: it stands in the configuration, at the place of the message.
    try:
        found = Path(name).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        where = "" if Path(name).is_absolute() else f"; a relative path begins at {Path.cwd()}"
        raise OutsideError(f"the file named here cannot be read: {reason}{where}") from None
    if not found:
        raise OutsideError("the file named here is empty; write the key into it")
    return Secret(found, f"file {name}")


def share(value: Any, _: Any) -> float:
    """Per cent, written here or in the environment. Whether they are between 0 and 100 is looked at later."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    name, text, default = _in_environment(value, 'a number, or { env = "NAME", default = 10 }')
    if text is None:
        return share(default, None)
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        number = float("nan")
    if not isfinite(number):
        raise OutsideError(f"{_variable(name)} is no number of per cent; set it to 0 to 100")
    return number


_SAID = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def switch(value: Any, _: Any) -> bool:
    """True or false, written here or in the environment."""
    if isinstance(value, bool):
        return value
    name, text, default = _in_environment(value, 'true or false, or { env = "NAME", default = false }')
    if text is None:
        return switch(default, None)
    said = _SAID.get(text.lower())
    if said is None:
        raise OutsideError(f"{_variable(name)} says neither; set it to true or false")
    return said


def _in_environment(value: Any, wanted: str) -> tuple[str, str | None, Any]:
    """The variable, and what it says, or None and the default where it is not set, or empty."""
    if not isinstance(value, Mapping):
        raise SettingError(f"expected {wanted}, got {described(value)}")
    table = dict(cast("Mapping[str, object]", value))
    name = table.pop("env", None)
    default = table.pop("default", None)
    if not isinstance(name, str) or table:
        raise SettingError(f"expected {wanted}")
    text = os.environ.get(name, "").strip()
    if not text and default is None:
        raise OutsideError(f"{_variable(name)} is not set, or empty; set it, or add a default")
    return name, text or None, default
