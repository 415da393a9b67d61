"""How every command speaks: data on stdout, words for people on stderr, one exit status for each ending."""

import json
import re
import sys
from collections.abc import Generator, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from shutil import get_terminal_size
from types import NoneType
from typing import Any, NoReturn, TextIO, cast

import click
from attrs import fields, has

from pointsman.decision import AttemptRecord, Decision
from pointsman.errors import BadRequest, ConfigError, Problem, RecordsUnavailable, RouteError
from pointsman.settings import Secret
from pointsman.targets import Target

from .columns import wrapped
from .excerpt import excerpt
from .toml import place_of

FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130
"""Exit statuses: the work could not be done; the configuration or the call is wrong; Ctrl-C, as shells have it."""


@contextmanager
def reported() -> Generator[None]:
    """Turns pointsman's errors into words and an exit status."""
    try:
        yield
    except ConfigError as error:
        click.echo(problems_report(error.problems), err=True)
        if any(one.file and not Path(one.file).exists() for one in error.problems):
            say("--config or POINTSMAN_CONFIG names another file")
        raise SystemExit(WRONG_USE) from None
    except RouteError as error:
        said = shown(f"{type(error).__name__}: {error}", sys.stderr)
        click.echo("\n".join(wrapped(said, error_width())), err=True)
        # What was refused before anyone was called is a mistake in the call.
        wrong = isinstance(error, BadRequest) and not error.attempts
        raise SystemExit(WRONG_USE if wrong else FAILED) from None
    except RecordsUnavailable as error:
        click.echo("\n".join(wrapped(shown(str(error), sys.stderr), error_width())), err=True)
        raise SystemExit(FAILED) from None
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        raise SystemExit(INTERRUPTED) from None


def problems_report(problems: Sequence[Problem]) -> str:
    """Every problem with its line and the place marked, and how many there are."""
    blocks = [
        "\n".join(filter(None, (_headline(problem), _marked(excerpt(problem, error_width()))))) for problem in problems
    ]
    return "\n\n".join([*blocks, *([f"{len(blocks)} problems"] if len(blocks) > 1 else [])])


def _headline(problem: Problem) -> str:
    """A problem in one line, or in several where the terminal is too narrow."""
    text = "\n".join(wrapped(str(problem), error_width()))
    place, space, rest = text.partition(" ")
    return click.style(place, bold=True) + space + rest


def _marked(lines: str) -> str:
    """An excerpt, its mark in red."""
    above, newline, last = lines.rpartition("\n")
    before, caret, more = last.partition("^")
    return above + newline + before + (click.style(caret + more, fg="red") if caret else "")


def error_width() -> int:
    """Columns of the terminal that reads stderr; without one, as if there were no edge."""
    return get_terminal_size().columns if sys.stderr.isatty() else sys.maxsize


def wrong_use(message: str) -> NoReturn:
    """Ends the command: it was called in a way that cannot work."""
    click.echo("\n".join(wrapped(message, error_width())), err=True)
    raise SystemExit(WRONG_USE)


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def shown(text: str, stream: TextIO) -> str:
    """Somebody else's text for this stream: without control characters on a terminal, which obeys them."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text) if stream.isatty() else text


def say(text: str, *, indent: str = "", end: str = "\n") -> None:
    """Words for people on stderr, dim, in lines that fit. A piece of a line stays as it is."""
    text = shown(text, sys.stderr)
    if end == "\n":
        further, width = indent and f"{indent}   ", error_width()
        lines = (wrapped(line, width, first=indent, further=further) for line in text.split("\n"))
        text = "\n".join(line for filled in lines for line in filled)
    click.echo(click.style(text, dim=True) + end if text else end, nl=False, err=True)


def print_json(value: object) -> None:
    """One JSON document on stdout, escaped where that cannot take every character."""
    escaped = not sys.stdout.encoding.lower().startswith("utf")
    click.echo(shown(json.dumps(plain(value), ensure_ascii=escaped, indent=2), sys.stdout))


def plain(value: object) -> Any:
    """A record as JSON knows it: a target by its three names, an attrs class by its fields."""
    if isinstance(value, Target):
        return {"model": value.model, "backend": value.backend, "name": value.name}
    if isinstance(value, Secret):
        return dict(place_of(value))
    if isinstance(value, Enum):
        return plain(value.value)
    if has(type(value)):
        return {a.name: plain(getattr(value, a.name)) for a in fields(type(value))}
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in cast("Mapping[object, object]", value).items()}
    if isinstance(value, (Sequence, AbstractSet)) and not isinstance(value, str):
        return [plain(inner) for inner in cast("Iterable[object]", value)]
    return value if isinstance(value, (bool, int, float, str, NoneType)) else str(value)


def attempt_words(attempt: AttemptRecord) -> str:
    """One attempt in a few words: `glm-4.5-air-free via litellm_backend: 429 rate_limit`."""
    failure = attempt.failure
    if failure is None:
        came = attempt.outcome
    else:
        came = f"{failure.status} {failure.kind}" if failure.status else failure.kind
    return f"{attempt.target.model} via {attempt.target.backend}: {came}"


def path_words(decision: Decision) -> str:
    """The assigned path, and the unit's bucket where it has one; nothing where there are no paths."""
    assignment = decision.assignment
    if assignment is None:
        return ""
    bucket = f", bucket {assignment.bucket * 100:.3f} %" if assignment.bucket is not None else ""
    return f"path {assignment.path}{bucket}"
