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
from tomlkit.exceptions import TOMLKitError

from pointsman.complaints import dotted
from pointsman.config import DEFAULT_ROLLOUT
from pointsman.errors import ConfigError
from pointsman.loading import from_toml

try:
    import fcntl
except ImportError:  # Windows, where two commands at the same moment can undo one another
    fcntl = None

from ..output import FAILED, say, wrong_use
from .placing import with_key


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
        try:
            self._replace(self.path.resolve())
        except OSError as error:
            say(f"{self.path} cannot be replaced, and nothing is written: {error.strerror}")
            raise SystemExit(FAILED) from None

    def _replace(self, target: Path) -> None:
        with _beside(target, self.after) as new:
            try:
                from_toml(new, read_secrets=False)
            except ConfigError as error:
                raise ConfigError([evolve(one, file=str(self.path)) for one in error.problems]) from None
            with _alone(target):
                if _read(self.path) != self.before:
                    wrong_use(f"{self.path} was changed by somebody else in the meantime; nothing is written")
                new.replace(target)


def edit(path: Path, changes: Mapping[str, Mapping[str, Any]]) -> Edit:
    """Rollouts with other settings, by name. Shares are laid over those that are there."""
    before = _read(path)
    text = before.removeprefix(_MARK)
    for name, settings in changes.items():
        place = _place(name)
        for key, value in settings.items():
            if key == "shares":
                for one, share in value.items():
                    text = _with_share(text, place, one, int(share) if share == int(share) else share)
            else:
                text = _with(text, place, key, value)
    return Edit(path, before, before[: len(before) - len(before.removeprefix(_MARK))] + text)


_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"
"""What some editors begin a file with, and tomlkit does not know."""


def _with(text: str, place: tuple[str, ...], key: str, value: object) -> str:
    """The text with another value of a key, or with a new key after the control path, which every rollout has."""
    document, table = _table(text, place)
    if key not in table:
        return with_key(text, (*place, "control"), f"{key} = {tomlkit.item(value).as_string()}")
    _in_file(table[key], (*place, key))
    table[key] = value
    return tomlkit.dumps(document)


def _with_share(text: str, place: tuple[str, ...], path: str, share: float) -> str:
    """The text with another share. A new one is the last: the first grows from the other end of the buckets."""
    document, table = _table(text, place)
    words = f"{tomlkit.key(path).as_string()} = {tomlkit.item(share).as_string()}"
    shares = table.get("shares")
    if shares is None:
        return with_key(text, (*place, "control"), f"shares = {{ {words} }}")
    if path in shares:
        _in_file(shares[path], (*place, "shares", path))
    elif shares:
        return with_key(text, (*place, "shares", list(shares)[-1]), words)
    shares[path] = share
    return tomlkit.dumps(document)


def _table(text: str, place: tuple[str, ...]) -> tuple[tomlkit.TOMLDocument, Any]:
    try:
        document = tomlkit.parse(text)
    except TOMLKitError as error:
        wrong_use(f"the file cannot be edited here, only by hand: {error}")
    table: Any = document
    for name in place:
        table = table[name]
    return document, table


def outside(path: Path, name: str, key: str) -> str | None:
    """What to say where a setting of a rollout stands in the environment, so that the file cannot change it."""
    place = _place(name)
    return _elsewhere(_table(_read(path).removeprefix(_MARK), place)[1].get(key), (*place, key))


def _elsewhere(value: object, place: tuple[str, ...]) -> str | None:
    if not isinstance(value, Mapping):
        return None
    variable = cast("Mapping[str, object]", value).get("env")
    return (
        f"{dotted(place)} stands in the environment variable {variable}: set that where the programs run, and restart "
        "or reload them; or write a value into the file in its place"
    )


def _in_file(value: object, place: tuple[str, ...]) -> None:
    """Ends the command where something stands in the environment."""
    if said := _elsewhere(value, place):
        wrong_use(said)


def _place(name: str) -> tuple[str, ...]:
    return ("rollout",) if name == DEFAULT_ROLLOUT else ("rollouts", name)


def _read(path: Path) -> str:
    return path.read_bytes().decode("utf-8")


@contextmanager
def _alone(target: Path) -> Generator[None]:
    """Lets one command after the other look whether a file is as it was and replace it.

    Who waited for the file that was replaced finds another one in its place.
    """
    if fcntl is None:
        yield
        return
    with target.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


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
        _as_it_was(new, target.stat())
        yield new
    finally:
        with suppress(FileNotFoundError):
            new.unlink()


def _as_it_was(new: Path, old: os.stat_result) -> None:
    """Gives a file the owner, where that is allowed, and the mode of the one that it replaces.

    Otherwise the programs that read it could be locked out by whoever edits it.
    """
    if hasattr(os, "chown"):
        with suppress(PermissionError):
            os.chown(new, old.st_uid, old.st_gid)
    new.chmod(old.st_mode & 0o7777)
