"""`pointsman rollout preview`: who would move."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from pointsman.config import RolloutSettings
from pointsman.errors import BadRequest
from pointsman.loading import from_toml
from pointsman.policy.rollout import named_path

from ..columns import heading, line, table
from ..output import print_json, wrong_use
from .chosen import one_rollout, percent, shares_of
from .moving import Moves, changed, document, in_words, moves_of_buckets, path_now


def run(
    config: str, words: Sequence[str], name: str | None, file: Iterable[str] | None, *, listed: bool, as_json: bool
) -> None:
    """Prints the moves of all buckets, and of the units in a file."""
    snapshot = from_toml(Path(config), read_secrets=False)
    name, before = one_rollout(snapshot.config, name)
    after = changed(snapshot, name, shares_of(words))
    buckets = moves_of_buckets(before, after)
    if file is None:
        if listed:
            wrong_use("--list needs --units FILE: the units to list")
        units: list[str] = []
    else:
        units = [unit for text in file if (unit := text.strip())]
    try:
        paths = [(unit, path_now(unit, before), path_now(unit, after)) for unit in units]
    except BadRequest as error:
        wrong_use(f"{getattr(file, 'name', 'the units')}: {error}")
    moved = [(unit, old, new) for unit, old, new in paths if old != new]
    if as_json:
        told = document(name, before, after, buckets)
        if file is not None:
            told["units"] = len(paths)
            told["moved"] = [{"unit": unit, "from": old, "to": new} for unit, old, new in moved]
        print_json(told)
    elif listed:
        for unit, old, new in moved:
            click.echo(f"{unit}\t{old}\t{new}")
    else:
        _tell(name, before, after, buckets)
        if file is not None:
            _tell_units(before, after, paths)


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
    named = sum(named_path(unit, before) is not None for unit, _, _ in paths)
    heading(f"{len(paths):,} units" + (f", {named:,} of them named for a path" if named else ""))
    now, then = Counter(old for _, old, _ in paths), Counter(new for _, _, new in paths)
    rows = [
        ("", "now", "then"),
        *((path, f"{now[path]:,}", f"{then[path]:,}") for path in (*after.shares, after.control)),
    ]
    table(rows, indent=2)
    moves: Moves = Counter((old, new) for _, old, new in paths if old != new)
    line(in_words(moves, "unit", after))
