"""`pointsman logs`: what was decided for requests, from a plugin that keeps them."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import time
from typing import Any, cast

import click
from attrs import asdict
from cattrs import Converter

from pointsman.decision import AttemptRecord, Decision
from pointsman.kinds import converter
from pointsman.loading import from_toml
from pointsman.outside import SettingError
from pointsman.records import RecordedRequest, RecordQuery
from pointsman.settings import Seconds

from .columns import fits, heading, line, table
from .output import attempt_words, path_words, print_json, say, wrong_use
from .recordings import recorded


def run(config: str, asked: RecordQuery, *, keeper: str | None, whole: bool, as_json: bool) -> None:
    """Prints the requests that are asked for, the newest last: a line each, or the whole story of each."""
    hooks = from_toml(Path(config), read_secrets=False).hooks
    found = list(recorded(hooks, config, asked, keeper))
    if as_json:
        print_json([{**asdict(one), "decision": json.loads(one.decision)} for one in found])
    elif not found:
        say("no recorded request fits")
    elif whole:
        for place, one in enumerate(found):
            if place:
                click.echo()
            _tell(one)
    else:
        _list(found)


def query(*, since: str | None, until: str | None, **wanted: Any) -> RecordQuery:
    """The query for what was said on the command line."""
    now = time()
    return RecordQuery(since=_moment(since, now), until=_moment(until, now), **wanted)


def _moment(text: str | None, now: float) -> float | None:
    """A time as people write it, in seconds since the epoch: `30m` or `2d` ago, or a date with or without a time."""
    if text is None:
        return None
    try:
        return now - converter().structure(text, cast("type[float]", Seconds))
    except SettingError:
        pass
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except ValueError:
        wrong_use(f'"{text}" is no time: write how long ago, such as 30m, 1h or 2d, or a time such as 2026-11-25T10:00')


_COLUMNS: Sequence[tuple[str, Callable[[RecordedRequest], str]]] = (
    ("request", lambda one: one.request_id[:8]),
    ("ended", lambda one: _clock(one.time)),
    ("task", lambda one: one.task),
    ("unit", lambda one: "-" if one.unit is None else str(one.unit)),
    ("path", lambda one: one.path or "-"),
    ("outcome", lambda one: one.outcome),
    ("attempts", lambda one: str(one.attempts)),
    ("took", lambda one: f"{one.duration:.2f} s"),
    ("first token", lambda one: _seconds(one.time_to_first_token)),
    ("cost", lambda one: _money(one.cost)),
    ("served by", lambda one: f"{one.model} via {one.backend}" if one.model else one.why or "-"),
)

_SPARED = ("first token", "cost", "attempts", "unit", "path", "ended")
"""The columns that a narrow terminal does without, in this order; `--request` tells them."""

_SERVED = 40
"""Columns that who served, or why nobody did, is to have."""


def _list(found: Sequence[RecordedRequest]) -> None:
    cells = {name: [click.style(name, dim=True), *(_one_line(write(one)) for one in found)] for name, write in _COLUMNS}
    for spared in _SPARED:
        # The last column is wrapped where it is longer than that.
        if fits([(*row[:-1], row[-1][:_SERVED]) for row in zip(*cells.values(), strict=True)]):
            break
        del cells[spared]
    table(list(zip(*cells.values(), strict=True)))


def _tell(one: RecordedRequest) -> None:
    """The whole story of one request."""
    heading(f"{one.request_id}, {_clock(one.time, whole=True)}: {one.outcome} after {one.duration:.2f} s")
    if one.why:
        line(_one_line(one.why))
    try:
        decision = _reader().structure(json.loads(one.decision), Decision)
    except Exception:  # noqa: BLE001 - whatever cattrs raises for a record of another version
        line("Its decision was recorded by another version of pointsman; --json prints it.", dim=True)
        return
    asked = [one.task, *([f"model {decision.model}"] if decision.model is not None else [])]
    asked += [f"unit {one.unit}"] if one.unit is not None else []
    line(_one_line(": ".join(filter(None, (", ".join(asked), path_words(decision))))))
    click.echo()
    for number, step in enumerate(decision.steps, start=1):
        many = f"{len(step.targets)} target{'s'[: len(step.targets) != 1]}"
        line(_one_line(f"{number}. {step.plugin} left {many}: {step.why}"), hanging=3)
    click.echo()
    for skipped in decision.skipped:
        words = f"-  {skipped.target.model} via {skipped.target.backend}: skipped, {skipped.why}"
        line(_one_line(words), indent=2, hanging=3)
    for attempt in decision.attempts:
        line(_one_line(_attempt(attempt)), indent=2, hanging=3)
        if attempt.failure:
            line(_one_line(attempt.failure.message), indent=5)
    line(_totals(one), dim=True)


def _attempt(attempt: AttemptRecord) -> str:
    words = f"{attempt.number}. {attempt_words(attempt)}, {attempt.duration:.2f} s"
    if attempt.time_to_first_token is not None:
        words += f", first token after {attempt.time_to_first_token:.2f} s"
    served = " at ".join(filter(None, (attempt.served_model, attempt.provider)))
    return f"{words}, served as {served}" if served else words


def _totals(one: RecordedRequest) -> str:
    known = [
        f"{one.input_tokens} tokens in" if one.input_tokens is not None else "",
        f"{one.output_tokens} out" if one.output_tokens is not None else "",
        "cost unknown" if one.cost is None else _money(one.cost),
        "fell back" if one.fell_back and one.outcome == "answered" else "",
    ]
    return ", ".join(filter(None, known))


def _reader() -> Converter:
    made = Converter()
    made.register_structure_hook_func(lambda cls: cls == str | int | None, lambda value, _: value)
    return made


def _clock(at: float, *, whole: bool = False) -> str:
    """A moment where the reader is."""
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S" if whole else "%m-%d %H:%M:%S")


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _money(value: float | None) -> str:
    return "-" if value is None else f"${value:.6f}" if value else "free"


def _one_line(text: str) -> str:
    """Without what breaks a line or commands a terminal: a unit or a task may be anybody's words."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)
