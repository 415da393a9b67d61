"""`pointsman rollout show`: who takes which path, and where that is said."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from pointsman.config import DEFAULT_ROLLOUT, Config, RolloutSettings
from pointsman.errors import BadRequest
from pointsman.intake import Call
from pointsman.loading import from_toml
from pointsman.plan import explain
from pointsman.policy.halts import Halt
from pointsman.policy.rollout import BUCKETS, bucket_in, share_of
from pointsman.recorder import Recorder
from pointsman.snapshot import Snapshot
from pointsman.toml_file import read
from pointsman.toml_positions import locate

from ..columns import heading, line, table
from ..output import print_json
from .chosen import halted_words, halts_of, percent, rollouts_of, variables_of


def run(config: str, name: str | None, units: Sequence[str], *, as_json: bool) -> None:
    """Prints each rollout."""
    path = Path(config)
    snapshot = from_toml(path, read_secrets=False)
    found = rollouts_of(snapshot.config, name)
    text, written = read(path)
    places = {key: f"{path}:{at.line}" for key, at in locate(text).items()}
    halts = {one: halts_of(snapshot, one) for one in found}
    told = {one: _document(snapshot, one, rollout, units, halts[one]) for one, rollout in found.items()}
    if as_json:
        print_json(told)
        return
    for number, (one, document) in enumerate(told.items()):
        if number:
            click.echo()
        _tell(snapshot.config, one, document, halts[one], _origins(one, found[one], written, places))


def _document(
    snapshot: Snapshot, name: str, rollout: RolloutSettings, units: Sequence[str], halts: Sequence[Halt]
) -> dict[str, Any]:
    return {
        "tasks": list(rollout.tasks),
        "control": rollout.control,
        "shares": {path: share_of(path, rollout) for path in (*rollout.shares, rollout.control)},
        "steps": list(rollout.steps),
        "off": rollout.off,
        "salt": rollout.salt,
        "algorithm": rollout.algorithm,
        "without_unit": rollout.without_unit,
        "named": {path: list(named) for path, named in rollout.units.items()},
        "halted": [{"path": one.way.path, "since": one.time, "why": one.why} for one in halts],
        "units": [_unit(snapshot, name, rollout, unit) for unit in units],
    }


def _unit(snapshot: Snapshot, name: str, rollout: RolloutSettings, unit: str) -> dict[str, Any]:
    """What a unit gets, plugins and all, and from which share on it would move."""
    task = _a_task(snapshot.config, name)
    call = Call.of(snapshot, "?", task=task, unit=unit)
    decision = explain(Recorder.of(call.request, snapshot))
    # Any plugin may assign a path before the rollout does, or afterwards; `tasks` has the models in its care.
    steps = [step for step in decision.steps if step.plugin != "tasks"]
    return {
        "unit": unit,
        "path": decision.path,
        "why": "; ".join(step.why if step.plugin == "rollout" else f"{step.plugin}: {step.why}" for step in steps),
        "bucket": decision.assignment.bucket if decision.assignment else None,
        "from": _moves_at(rollout, unit),
    }


def _a_task(config: Config, name: str) -> str | None:
    """One of the tasks that take part in a rollout."""
    if name != DEFAULT_ROLLOUT:
        return config.rollouts[name].tasks[0]
    others = {task for one in config.rollouts.values() for task in one.tasks}
    return next((task for task in config.tasks if task not in others), None)


def _moves_at(rollout: RolloutSettings, unit: str) -> Mapping[str, float]:
    """For each path the least share, in per cent, at which the unit's bucket takes it."""
    try:
        bucket = bucket_in(rollout, unit)
    except BadRequest:
        return {}
    least = (bucket + 1, BUCKETS - bucket)
    return {path: least[place] * 100 / BUCKETS for place, path in enumerate(rollout.shares)}


def _origins(
    name: str, rollout: RolloutSettings, written: Mapping[str, Any], places: Mapping[tuple[Any, ...], str]
) -> Mapping[str, str]:
    """Where each share is said: a line, and the environment variable that the line names."""
    place = ("rollout",) if name == DEFAULT_ROLLOUT else ("rollouts", name)
    variables = variables_of(written, name)
    origins: dict[str, str] = {}
    for path in rollout.shares:
        at = places.get((*place, "shares", path), "")
        origins[path] = f"environment variable {variables[path]}, {at}" if path in variables else at
    return origins


def _tell(
    config: Config, name: str, told: Mapping[str, Any], halts: Sequence[Halt], origins: Mapping[str, str]
) -> None:
    others = [task for one in config.rollouts.values() for task in one.tasks]
    of_default = "every task" + (f" but {', '.join(others)}" if others else "")
    heading(f"{name}: {', '.join(told['tasks']) or of_default}")
    if told["off"]:
        line(f"It is off: everyone takes {told['control']}, whatever the shares say.", indent=2)
    words = {path: _planned(told["shares"][path], told["steps"], origin) for path, origin in origins.items()}
    words[told["control"]] = "control, the rest"
    table([(path, percent(share), words[path]) for path, share in told["shares"].items()], indent=2)
    for path, named in told["named"].items():
        line(f"named for {path}: {', '.join(named)}", indent=2, hanging=2)
    for halt in halts:
        line(halted_words(halt), indent=2, hanging=2)
    salt = f'salt "{told["salt"]}"' if told["algorithm"] == "sha256" else "the bucket is unit % 100"
    drawn = "chance decides" if told["without_unit"] == "draw" else "it is the control path"
    line(f"{salt}; without a unit {drawn}", indent=2, dim=True)
    for unit in told["units"]:
        least = "; ".join(f"{path} has it from {percent(share)} on" for path, share in unit["from"].items())
        story = f"unit {unit['unit']}: {unit['path']}, {unit['why']}"
        line(f"{story} ({least})" if least else story, indent=2, hanging=2)


def _planned(share: float, steps: Sequence[float], origin: str) -> str:
    after = next((step for step in steps if step > share), None)
    then = "the last step" if after is None else f"next step {percent(after)}"
    return f"{then}, {origin}" if origin else then
