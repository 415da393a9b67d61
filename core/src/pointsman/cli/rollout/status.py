"""`pointsman rollout status`: how each path does against control, and what to do about its share."""

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from time import time
from typing import Any, cast

import click
from attrs import evolve, fields, has

from pointsman.config import DEFAULT_ROLLOUT, RolloutSettings
from pointsman.loading import from_toml
from pointsman.policy.halts import Halt
from pointsman.records import RecordedRequest
from pointsman.rollouts.comparison import PathFigures
from pointsman.rollouts.observed import Estimate
from pointsman.rollouts.verdict import Verdict, judge
from pointsman.toml_file import read

from ..columns import heading, line, table
from ..logs import query
from ..output import print_json, wrong_use
from ..recordings import recorded
from .chosen import halted_words, halts_of, percent, rollouts_of, variables_of


def run(config: str, name: str | None, *, since: str | None, keeper: str | None, as_json: bool) -> None:
    """Prints a verdict for each path that has a share, or could have one."""
    snapshot = from_toml(Path(config), read_secrets=False)
    verdicts: dict[str, list[Verdict]] = {}
    for one, rollout in rollouts_of(snapshot.config, name).items():
        asked = query(since=since, until=None, rollout=one)
        # The whole decisions are most of what was recorded, and judge nothing.
        records = [evolve(record, decision="") for record in recorded(snapshot.hooks, config, asked, keeper)]
        verdicts[one] = _judged(one, rollout, records)
    if not any(verdicts.values()):
        wrong_use("no path of a rollout has a share; add one: shares = { PATH = 10 }")
    if as_json:
        print_json(
            {one: [_document(verdict, halts_of(snapshot, one)) for verdict in found] for one, found in verdicts.items()}
        )
        return
    written = read(Path(config))[1]
    for number, (one, verdict) in enumerate((one, verdict) for one, found in verdicts.items() for verdict in found):
        if number:
            click.echo()
        if variable := variables_of(written, one).get(verdict.comparison.path.path):
            line(f"The share stands in the environment variable {variable}; this is what it says here.", dim=True)
        _tell(one, verdict, "" if since else ", the first request under the present shares")
        for halt in _halts(verdict, halts_of(snapshot, one)):
            line(halted_words(halt))


def _judged(name: str, rollout: RolloutSettings, records: Sequence[RecordedRequest]) -> list[Verdict]:
    shares = {path: 0.0 if rollout.off else share for path, share in rollout.shares.items()}
    return [
        judge(
            records,
            rollout=name,
            path=path,
            control=rollout.control,
            share=share,
            others=sum(shares.values()) - share,
            steps=rollout.steps,
            settings=rollout.verdict,
        )
        for path, share in shares.items()
    ]


def _halts(verdict: Verdict, halts: Sequence[Halt]) -> list[Halt]:
    return [one for one in halts if one.way.path == verdict.comparison.path.path]


def _tell(name: str, verdict: Verdict, why_then: str) -> None:
    compared = verdict.comparison
    path, control = compared.path, compared.control
    heading(f"{name}: {path.path} at {percent(verdict.share)}, against {control.path}")
    if compared.since is not None:
        line(f"since {_ago(compared.since)}{why_then}", dim=True)
    if path.requests or control.requests:
        table(_rows(path, control), indent=2)
    line(verdict.reason, strong=verdict.reason.split(":")[0])
    if verdict.action in ("advance", "step_back"):
        which = "" if name == DEFAULT_ROLLOUT else f" --rollout {name}"
        line(f"pointsman rollout set {path.path}={verdict.next_share:g}{which}", indent=2)


def _rows(path: PathFigures, control: PathFigures) -> list[tuple[str, str, str]]:
    sides = (path, control)

    def row(what: str, *cells: str) -> tuple[str, str, str]:
        return what, cells[0], cells[1]

    rows = [
        ("", path.path, control.path),
        row("requests", *(f"{one.requests:,}" for one in sides)),
        row("answered", *(_rate(one.success) for one in sides)),
        row("fell back", *(_rate(one.fallback) for one in sides)),
        row("duration, median", *(_seconds(one.duration_p50) for one in sides)),
        row("duration, 95 %", *(_seconds(one.duration_p95) for one in sides)),
    ]
    if any(one.streams for one in sides):
        rows += [
            row("first token, median", *(_seconds(one.first_token_p50) for one in sides)),
            row("first token, 95 %", *(_seconds(one.first_token_p95) for one in sides)),
        ]
    if any(one.cost_mean is not None for one in sides):
        rows += [
            row("cost, median", *(_money(one.cost_p50) for one in sides)),
            row("cost, mean", *("-" if one.cost_mean is None else f"${one.cost_mean:.3g}" for one in sides)),
        ]
    return rows


def _rate(one: Estimate) -> str:
    if one.seen is None:
        return "-"
    return f"{one.seen:.1%} ({one.interval.low * 100:.1f} to {one.interval.high * 100:.1f})"


def _seconds(one: Estimate) -> str:
    return _estimate(one, ".2f", "{} s")


def _money(one: Estimate) -> str:
    return _estimate(one, ".2g", "${}")


def _estimate(one: Estimate, form: str, whole: str) -> str:
    """What was seen, and where the truth lies."""
    if one.seen is None:
        return "-"
    low, high = (_end(end, form) for end in one.interval)
    return f"{whole.format(format(one.seen, form))} ({low} to {high})"


def _end(value: float, form: str) -> str:
    """One end of an interval; where nothing is known of it yet, a question mark."""
    return format(value, form) if isfinite(value) else "?"


def _ago(moment: float) -> str:
    seconds = max(time() - moment, 0)
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}{'s'[: count != 1]} ago"
    return "less than a minute ago"


def _document(verdict: Verdict, halts: Sequence[Halt]) -> dict[str, Any]:
    compared = verdict.comparison
    return {
        "action": verdict.action,
        "path": compared.path.path,
        "control": compared.control.path,
        "share": verdict.share,
        "next_share": verdict.next_share,
        "reason": verdict.reason,
        "halted": [one.why for one in _halts(verdict, halts)],
        "since": compared.since,
        "until": compared.until,
        "paths": {one.path: _finite(one) for one in (compared.path, compared.control)},
        "findings": [_finite(one) for one in verdict.findings],
    }


def _finite(value: object) -> Any:
    """As JSON knows it: an end of an interval that is not known yet is null."""
    if isinstance(value, float) and not isfinite(value):
        return None
    if has(type(value)):
        return {a.name: _finite(getattr(value, a.name)) for a in fields(type(value))}
    if isinstance(value, tuple):
        return [_finite(one) for one in cast("tuple[object, ...]", value)]
    return value
