"""Which units move when shares change."""

from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from attrs import evolve

from pointsman.config import RolloutSettings
from pointsman.loading import check_again
from pointsman.policy.rollout import BUCKETS, bucket_in, named_path, path_of
from pointsman.snapshot import Snapshot

from .chosen import percent

Moves = Mapping[tuple[str, str], float]
"""Per cent of buckets, or a number of units, for each path that they leave and the one that they come to."""


def changed(snapshot: Snapshot, name: str, shares: Mapping[str, float]) -> RolloutSettings:
    """The rollout with other shares. Raises `ConfigError` where it would not fit the rest of the configuration."""
    config = snapshot.config
    rollout = evolve(config.all_rollouts[name], shares={**config.all_rollouts[name].shares, **shares})
    own = {"rollouts": {**config.rollouts, name: rollout}} if name in config.rollouts else {"rollout": rollout}
    check_again(evolve(snapshot, config=evolve(config, **own)))
    return rollout


def moves_of_buckets(before: RolloutSettings, after: RolloutSettings) -> Moves:
    """How many per cent of all buckets move, from where to where: exactly, for a path holds one run of them."""
    edges = sorted({0, BUCKETS, *_edges(before), *_edges(after)})
    moves: Counter[tuple[str, str]] = Counter()
    for begin, end in pairwise(edges):
        move = _at(begin, before), _at(begin, after)
        if move[0] != move[1]:
            moves[move] += end - begin
    return {move: buckets * 100 / BUCKETS for move, buckets in moves.items()}


def document(name: str, before: RolloutSettings, after: RolloutSettings, moves: Moves) -> dict[str, Any]:
    """A change as data."""
    return {
        "rollout": name,
        "before": dict(before.shares),
        "after": dict(after.shares),
        "moves_percent": [{"from": old, "to": new, "percent": share} for (old, new), share in moves.items()],
    }


def path_now(unit: str, rollout: RolloutSettings) -> str:
    """The path that a unit takes by the rollout alone. Raises `BadRequest` where it has no bucket."""
    if rollout.off:
        return rollout.control
    return named_path(unit, rollout) or _at(bucket_in(rollout, unit), rollout)


def in_words(moves: Moves, what: str, rollout: RolloutSettings) -> str:
    """Who moves, and that nobody else does: where no path loses anyone but control, that nobody moves back."""
    if not moves:
        return "Nobody moves."
    told = [
        f"{_amount(count, what)} {'back ' if new == rollout.control else ''}from {old} to {new}"
        for (old, new), count in moves.items()
    ]
    forward = all(old == rollout.control for old, _ in moves)
    return f"{'; '.join(told)}; nobody {'moves back' if forward else 'else moves'}."


def _amount(count: float, what: str) -> str:
    if what == "unit":
        return f"{int(count):,} unit{'s' if count != 1 else ''} move{'s' if count == 1 else ''}"
    return f"{percent(count)} of {what} move"


def _at(bucket: int, rollout: RolloutSettings) -> str:
    return rollout.control if rollout.off else path_of(bucket, rollout.control, rollout.shares)


def _edges(rollout: RolloutSettings) -> list[int]:
    widths = [round(share * (BUCKETS / 100)) for share in rollout.shares.values()]
    return [width if place == 0 else BUCKETS - width for place, width in enumerate(widths)]
