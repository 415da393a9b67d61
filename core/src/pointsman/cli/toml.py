"""Values as TOML writes them."""

import json
import re
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from enum import Enum
from math import isfinite
from typing import cast

from attrs import fields, has

from pointsman.settings import Seconds, Secret


def toml(value: object, kind: object = object) -> str:
    """A value on one line; `kind` tells a duration from a number."""
    if kind is Seconds and isinstance(value, float):
        return _duration(value)
    if isinstance(value, Secret):
        return toml(place_of(value))
    if isinstance(value, Enum):
        return toml(value.value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    if isinstance(value, (int, float)):
        return repr(value)
    if has(type(value)):
        return toml({a.name: getattr(value, a.name) for a in fields(type(value))})
    if isinstance(value, Mapping):
        table = cast("Mapping[str, object]", value)
        inner = ", ".join(f"{key(name)} = {toml(one)}" for name, one in table.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, (list, tuple, AbstractSet)):
        items = list(cast("Iterable[object]", value))
        if isinstance(value, AbstractSet):
            items.sort(key=str)
        return f"[{', '.join(map(toml, items))}]"
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def place_of(secret: Secret) -> Mapping[str, str]:
    """Where a secret is, as a configuration says it. The name is left out where it may be the key itself."""
    variable = secret.origin.removeprefix("environment variable ")
    if variable != secret.origin:
        return {"env": variable}
    return {"file" if "file" in secret.origin else "env": "..."}


def key(name: str) -> str:
    """A key, quoted where it needs to be."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml(name)


def _duration(seconds: float) -> str:
    text = f"{seconds:.6f}".rstrip("0").rstrip(".")
    return f'"{text}s"' if float(text) == seconds else repr(seconds)
