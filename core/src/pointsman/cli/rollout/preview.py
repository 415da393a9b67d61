"""`pointsman rollout preview`: who would move."""

from collections import Counter
from collections.abc import Iterable, Sequence
from csv import DictReader
from pathlib import Path

import click

from pointsman.complaints import suggest
from pointsman.config import RolloutSettings
from pointsman.errors import BadRequest
from pointsman.loading import from_toml
from pointsman.policy.rollout import named_path

from ..columns import heading, line, table
from ..output import print_json, wrong_use
from .chosen import one_rollout, percent, shares_of
from .moving import Moves, changed, document, in_words, moves_of_buckets, path_now


def run(
    config: str,
    words: Sequence[str],
    name: str | None,
    *,
    file: Iterable[str] | None,
    column: str | None,
    listed: bool,
    as_json: bool,
) -> None:
    """Prints the moves of all buckets, and of the units in a file."""
    snapshot = from_toml(Path(config), read_secrets=False)
    name, before = one_rollout(snapshot.config, name)
    after = changed(snapshot, name, shares_of(words))
    buckets = moves_of_buckets(before, after)
    if file is None and (listed or column is not None):
        wrong_use(f"{'--list' if listed else '--column'} needs --units FILE, where the units are")
    units = [] if file is None else _units(file, column)
    try:
        paths = [(unit, path_now(unit, before), path_now(unit, after)) for unit in units]
    except BadRequest as error:
        wrong_use(f"{getattr(file, 'name', 'the units')}: {error}")
    moved = [(unit, old, new) for unit, old, new in paths if old != new]
    if as_json:
        told = document(name, before, after, buckets)
        if file is not None:
            told["units"] = len(paths)
            told["named"] = _named(before, units)
            told["paths"] = {path: {"now": now, "then": then} for path, now, then in _counts(after, paths)}
            told["moved"] = [{"unit": unit, "from": old, "to": new} for unit, old, new in moved]
        print_json(told)
    elif listed:
        for unit, old, new in moved:
            click.echo(f"{unit}\t{old}\t{new}")
    else:
        _tell(name, before, after, buckets)
        if file is not None:
            _tell_units(before, after, paths)


def _units(file: Iterable[str], column: str | None) -> list[str]:
    """Each unit once: the lines, or a column of comma-separated values whose first line names them."""
    name = getattr(file, "name", "the file")
    try:
        if column is None:
            found = list(file)
        else:
            rows = DictReader(file)
            if column not in (names := tuple(rows.fieldnames or ())):
                wrong_use(f'{name} has no column "{column}"; {suggest(column, names)}')
            found = [row[column] or "" for row in rows]
    except UnicodeDecodeError:
        wrong_use(f"{name} is not UTF-8 text; save it in that encoding")
    return list(dict.fromkeys(unit for text in found if (unit := text.strip())))


def _named(rollout: RolloutSettings, units: Iterable[str]) -> int:
    return sum(named_path(unit, rollout) is not None for unit in units)


def _counts(rollout: RolloutSettings, paths: Sequence[tuple[str, str, str]]) -> list[tuple[str, int, int]]:
    """For each path how many units it has, and then would have."""
    now, then = Counter(old for _, old, _ in paths), Counter(new for _, _, new in paths)
    ours = dict.fromkeys((*rollout.shares, *rollout.units, rollout.control))
    return [(path, now[path], then[path]) for path in ours]


def _tell(name: str, before: RolloutSettings, after: RolloutSettings, buckets: Moves) -> None:
    heading(f"rollout {name}")
    then = {path: percent(share) for path, share in after.shares.items()}
    table([(path, percent(before.shares.get(path, 0.0)), f"then {share}") for path, share in then.items()], indent=2)
    if before.off:
        line("It is off: everyone takes the control path, and nobody moves before it is on.")
    else:
        line(in_words(buckets, "units", after))


def _tell_units(before: RolloutSettings, after: RolloutSettings, paths: Sequence[tuple[str, str, str]]) -> None:
    click.echo()
    named = _named(before, (unit for unit, _, _ in paths))
    heading(f"{len(paths):,} units" + (f", {named:,} of them named for a path, which they keep" if named else ""))
    counts = [(path, f"{now:,}", f"{then:,}") for path, now, then in _counts(after, paths)]
    table([("", "now", "then"), *counts], indent=2)
    moves: Moves = Counter((old, new) for _, old, new in paths if old != new)
    line(in_words(moves, "unit", after))
