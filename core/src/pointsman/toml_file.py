"""A TOML file: what it says, and where in it a complaint belongs."""

import re
import tomllib
from ast import literal_eval
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .complaints import Complaint, dotted
from .errors import ConfigError, Problem
from .toml_positions import Position, locate, syntax_error_position


def read(path: Path) -> tuple[str, dict[str, Any]]:
    """The text and the table of a file. Raises `ConfigError` with the place where it cannot be read."""
    content = b""
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
        return text, tomllib.loads(text)
    except OSError as error:
        where = "" if path.is_absolute() else f"; a relative path begins at {Path.cwd()}"
        at, message = None, f"cannot be read: {error.strerror}{where}"
    except UnicodeDecodeError as error:
        at, message = _end_of(content[: error.start]), "is not UTF-8 text; save it in that encoding"
    except tomllib.TOMLDecodeError as error:
        at, message = syntax_error_position(error) or _end_of(content), f"is not TOML: {_in_words(error)}"
    raise ConfigError([_problem(path, "", message, at)])


_REMEDIES: Mapping[str, str] = {
    "Illegal character '\\n'": "; a text has its second quote on the same line",
    "Invalid value": "; a text stands in quotes",
}


def _in_words(error: tomllib.TOMLDecodeError) -> str:
    """What `tomllib` says, without its place, and what to write where that can be known."""
    said = str(error).split(" (at ")[0]
    if twice := re.fullmatch(r"Cannot declare (\(.*\)) twice", said):
        return f"[{dotted(literal_eval(twice[1]))}] stands here a second time; put its keys into the first"
    return said + _REMEDIES.get(said, "")


def placed(complaints: Iterable[Complaint], text: str, path: Path) -> list[Problem]:
    """Each complaint at the nearest key that the file has, in the order of the lines."""
    positions = locate(text)
    problems: list[Problem] = []
    for one in complaints:
        present = [one.path[:end] for end in range(1, len(one.path) + 1) if one.path[:end] in positions]
        problems.append(_problem(path, dotted(one.path), one.message, positions[present[-1]] if present else None))
    return sorted(problems, key=lambda problem: (problem.line or 0, problem.column or 0))


def _problem(path: Path, key: str, message: str, at: Position | None) -> Problem:
    line, column = (at.line, at.column) if at else (None, None)
    return Problem(key=key, message=message, file=str(path), line=line, column=column)


def _end_of(content: bytes) -> Position:
    lines = content.decode("utf-8-sig", errors="replace").split("\n")
    return Position(len(lines), len(lines[-1]) + 1)
