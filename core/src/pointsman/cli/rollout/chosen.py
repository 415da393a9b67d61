"""What the commands of a rollout are told on the command line."""

from collections.abc import Mapping, Sequence
from typing import Any

from pointsman.complaints import suggest
from pointsman.config import DEFAULT_ROLLOUT, Config, RolloutSettings
from pointsman.policy.guard import Guard
from pointsman.policy.halts import Halt
from pointsman.snapshot import Snapshot

from ..output import wrong_use


def rollouts_of(config: Config, name: str | None) -> Mapping[str, RolloutSettings]:
    """The rollout of this name, or all of them."""
    known = config.all_rollouts
    if not known:
        wrong_use('there is no rollout; add a table [rollout] with control = "PATH" and shares = { OTHER = 10 }')
    if name is None:
        return known
    if name not in known:
        wrong_use(f'there is no rollout "{name}"; {suggest(name, tuple(known))}')
    return {name: known[name]}


def one_rollout(config: Config, name: str | None) -> tuple[str, RolloutSettings]:
    """The rollout of this name; without one `[rollout]`, or the only one."""
    known = rollouts_of(config, name)
    if len(known) > 1:
        if DEFAULT_ROLLOUT not in known:
            wrong_use(f"there are several rollouts; --rollout says which one: {', '.join(known)}")
        return DEFAULT_ROLLOUT, known[DEFAULT_ROLLOUT]
    return next(iter(known.items()))


def halts_of(snapshot: Snapshot, name: str) -> list[Halt]:
    """What guards have halted of a rollout, as far as their files say."""
    guards = [one.instance for one in snapshot.plugins if isinstance(one.instance, Guard)]
    return [halt for guard in guards for halt in guard.halted() if halt.way.rollout == name]


def halted_words(halt: Halt) -> str:
    """That a path is halted, and how that ends."""
    return f"{halt.way.path} is halted: {halt.why}; `pointsman rollout resume` ends that"


def shares_of(words: Sequence[str]) -> dict[str, float]:
    """`proxied=50` as a path and its share in per cent."""
    shares: dict[str, float] = {}
    for word in words:
        path, equals, percent = word.partition("=")
        try:
            share = float(percent.removesuffix("%"))
        except ValueError:
            share = None
        if not equals or not path or share is None:
            wrong_use(f'"{word}" is not PATH=PERCENT, such as proxied=50')
        if path in shares:
            wrong_use(f"{path} is given two shares; leave one out")
        shares[path] = share
    return shares


def percent(share: float) -> str:
    """A share for people: as many digits as it has, and at most three after the point."""
    return f"{round(share, 3):g} %"


def variables_of(written: Mapping[str, Any], name: str) -> dict[str, str]:
    """For each path of a rollout whose share stands in the environment, the variable that the file names."""
    table: Any = written["rollout"] if name == DEFAULT_ROLLOUT else written["rollouts"][name]
    shares: Mapping[str, Any] = table.get("shares", {})
    return {path: share["env"] for path, share in shares.items() if isinstance(share, Mapping)}
