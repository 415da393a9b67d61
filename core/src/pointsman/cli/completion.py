"""What the shell can complete: the names that a configuration has."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import click


def names_of(section: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Completes the names in a section of the configuration; in a file that cannot be read there are none."""

    def complete(ctx: click.Context, _: click.Parameter, begun: str) -> list[str]:
        try:
            table = tomllib.loads(Path(ctx.params.get("config") or "pointsman.toml").read_text("utf-8"))
        except (OSError, ValueError):
            return []
        names: Any = table.get(section)
        return (
            [name for name in cast("dict[str, Any]", names) if name.startswith(begun)]
            if isinstance(names, dict)
            else []
        )

    return complete
