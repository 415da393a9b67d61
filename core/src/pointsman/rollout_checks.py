"""Whether the rollouts of a configuration can be carried out, each by itself and all of them together."""

from collections.abc import Iterator
from itertools import pairwise
from math import isclose

from .complaints import Complaint, KeyPath
from .config import DEFAULT_ROLLOUT, Config, RolloutSettings
from .policy.rollout import BUCKETS

MOST_SHARES = 2
"""One path grows from the low end of the buckets, one from the high end."""

EVERYONE = 100
"""Per cent."""


def rollout_tables(config: Config) -> Iterator[tuple[KeyPath, RolloutSettings]]:
    """Every rollout, with where it stands."""
    if config.rollout is not None:
        yield ("rollout",), config.rollout
    yield from ((("rollouts", name), rollout) for name, rollout in config.rollouts.items())


def rollouts(config: Config) -> Iterator[Complaint]:
    """What is wrong with them, but for names that nothing defines."""
    for place, rollout in rollout_tables(config):
        yield from _shares(place, rollout)
        yield from _units(place, rollout)
        yield from _steps(place, rollout)
    yield from _tasks(config)
    yield from _salts(config)


def repeated(path: KeyPath, names: tuple[str, ...], where: str) -> Iterator[Complaint]:
    """Names that stand in a list a second time."""
    for place, name in enumerate(names):
        if name in names[:place]:
            yield Complaint((*path, place), f'"{name}" stands {where} twice; remove one')


def _shares(place: KeyPath, rollout: RolloutSettings) -> Iterator[Complaint]:
    shares = {path: share for path, share in rollout.shares.items() if path != rollout.control}
    if len(shares) > MOST_SHARES:
        message = "beside the control path at most two paths can have a share, one from each end; remove the others"
        yield Complaint((*place, "shares"), message)
    if len(shares) < len(rollout.shares):
        message = "the control path has what the other shares leave; remove this"
        yield Complaint((*place, "shares", rollout.control), message)
    for path, share in shares.items():
        here = (*place, "shares", path)
        if not 0 <= share <= EVERYONE:
            yield Complaint(here, f"a share is 0 to 100 per cent, not {share}")
        elif not isclose(_width(share), round(_width(share)), abs_tol=1e-6):
            yield Complaint(here, f"a share goes in steps of 0.001 per cent, and {share} is finer; round it")
    if all(0 <= share <= EVERYONE for share in shares.values()):
        taken = sum(round(_width(share)) for share in shares.values())
        if taken > BUCKETS:
            message = f"the shares add up to {taken * EVERYONE / BUCKETS:g} per cent, and 100 is all there is"
            yield Complaint((*place, "shares"), message)


def _width(share: float) -> float:
    return share * BUCKETS / EVERYONE


def _units(place: KeyPath, rollout: RolloutSettings) -> Iterator[Complaint]:
    named: dict[str, str] = {}
    for path, units in rollout.units.items():
        yield from repeated((*place, "units", path), units, "here")
        for at, unit in enumerate(units):
            if named.setdefault(unit, path) != path:
                message = f'the unit "{unit}" is named for {named[unit]} too, and takes one path; remove one'
                yield Complaint((*place, "units", path, at), message)


def _steps(place: KeyPath, rollout: RolloutSettings) -> Iterator[Complaint]:
    steps = rollout.steps
    if not steps or any(not 0 < step <= EVERYONE for step in steps) or any(a >= b for a, b in pairwise(steps)):
        yield Complaint((*place, "steps"), "steps are shares that grow, above 0 to 100 per cent, such as [10, 50, 100]")


def _tasks(config: Config) -> Iterator[Complaint]:
    if config.rollout is not None and config.rollout.tasks:
        message = "[rollout] is for all tasks without a rollout of their own; name one for these: [rollouts.NAME]"
        yield Complaint(("rollout", "tasks"), message)
    if DEFAULT_ROLLOUT in config.rollouts:
        yield Complaint(("rollouts", DEFAULT_ROLLOUT), f'"{DEFAULT_ROLLOUT}" is what [rollout] is called; rename this')
    taken: dict[str, str] = {}
    for name, rollout in config.rollouts.items():
        if not rollout.tasks:
            yield Complaint(("rollouts", name, "tasks"), "name the tasks that take part in this rollout")
        yield from repeated(("rollouts", name, "tasks"), rollout.tasks, "in this rollout")
        for at, task in enumerate(rollout.tasks):
            if taken.setdefault(task, name) != name:
                message = f'the task "{task}" takes part in [rollouts.{taken[task]}] already; remove it from one'
                yield Complaint(("rollouts", name, "tasks", at), message)


def _salts(config: Config) -> Iterator[Complaint]:
    """Two rollouts with one salt put the same units first, and neither could be told from the other."""
    owners: dict[str, KeyPath] = {}
    for place, rollout in rollout_tables(config):
        if rollout.algorithm == "sha256" and (first := owners.setdefault(rollout.salt, place)) != place:
            message = f"the salt is that of [{'.'.join(map(str, first))}], so both would move the same units; change it"
            yield Complaint((*place, "salt"), message)
