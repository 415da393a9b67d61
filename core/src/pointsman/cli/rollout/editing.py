"""Changes of a rollout in the configuration's file: comments and layout stay, and nothing is half-written."""

import difflib
import os
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import tomlkit
from attrs import evolve, frozen

from pointsman.config import DEFAULT_ROLLOUT
from pointsman.errors import ConfigError
from pointsman.loading import from_toml

from ..output import wrong_use


@frozen
class Edit:
    """A file as it is and as it shall be."""

    path: Path
    before: str
    after: str

    def difference(self) -> list[str]:
        """Its lines that change, with two around each, as `diff -u` shows them."""
        before, after, name = self.before.splitlines(), self.after.splitlines(), str(self.path)
        return list(difflib.unified_diff(before, after, name, name, n=2, lineterm=""))

    def write(self) -> None:
        """Puts the new text in place of the old one, whole. Raises `ConfigError` where it has mistakes.

        A symbolic link stays one: what it leads to is replaced. Nothing is written where somebody else has
        changed the file meanwhile.
        """
        target = self.path.resolve()
        with _beside(target, self.after) as new:
            try:
                from_toml(new, read_secrets=False)
            except ConfigError as error:
                raise ConfigError([evolve(one, file=str(self.path)) for one in error.problems]) from None
            if _read(self.path) != self.before:
                wrong_use(f"{self.path} was changed by somebody else in the meantime; nothing is written")
            new.replace(target)


def edit(path: Path, changes: Mapping[str, Mapping[str, Any]]) -> Edit:
    """Rollouts with other settings, by name. Shares are laid over those that are there."""
    before = _read(path)
    document = tomlkit.parse(before)
    for name, settings in changes.items():
        table = cast("Any", document)["rollout"] if name == DEFAULT_ROLLOUT else cast("Any", document)["rollouts"][name]
        for key, value in settings.items():
            if key != "shares":
                _in_file(table.get(key), f"`{key}`")
                table[key] = value
                continue
            if "shares" not in table:
                table["shares"] = tomlkit.inline_table()
            for one, share in value.items():
                _in_file(table["shares"].get(one), f"the share of {one}")
                table["shares"][one] = int(share) if share == int(share) else share
    after = tomlkit.dumps(document)
    if before.endswith("\n") and not after.endswith("\n"):
        after += "\n"
    return Edit(path, before, after)


def _in_file(value: object, what: str) -> None:
    """Ends the command where something stands in the environment, so that the file cannot change it."""
    if isinstance(value, Mapping):
        variable = cast("Mapping[str, object]", value).get("env")
        wrong_use(
            f"{what} stands in the environment variable {variable}: set that where the programs run, and restart or "
            "reload them; or write a value into the file in its place"
        )


def _read(path: Path) -> str:
    return path.read_bytes().decode("utf-8")


@contextmanager
def _beside(target: Path, text: str) -> Generator[Path]:
    """A file with this text in the same folder, so that it can be moved into place; removed where it is not."""
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".new", dir=target.parent)
    new = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        new.chmod(target.stat().st_mode & 0o7777)
        yield new
    finally:
        with suppress(FileNotFoundError):
            new.unlink()
