"""`pointsman hooks`: who is called, in which order, and where that order comes from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from attrs import frozen

from pointsman.hooks import CALLING, ORDERED, Hooks, Rank, Step
from pointsman.loading import from_toml
from pointsman.policy import BUILT_IN
from pointsman.toml_file import read
from pointsman.toml_positions import Position, locate

from .columns import heading, line, table
from .output import print_json

_ORDERED_WORDS: Mapping[str, str] = {
    "select_model": "A pipeline: each step sees what the last left; the last has the last word.",
    "decide_fallback": "Asked in order: the first answer wins.",
    "admit": "Asked in order: everyone must agree, and the first refusal ends it.",
}
_UNORDERED_WORDS: Mapping[str, str] = {
    "addressed": "Only the plugin that is meant is called: a target's backend, a permit's gate.",
    "told": "Everyone is called, each isolated from the others. The order means nothing.",
}


def run(config: str, *, as_json: bool) -> None:
    """Prints every hook with its implementations."""
    path = Path(config)
    hooks = from_toml(path, read_secrets=False).hooks
    origin = _Origins(path, locate(read(path)[0]))
    called = {hook: _steps(hook, hooks) for hook in CALLING}
    if as_json:
        print_json(
            {
                hook: {
                    "called": CALLING[hook],
                    "steps": [
                        {
                            "plugin": step.plugin,
                            "placed_by": step.placed_by,
                            "origin": origin(hook, step),
                        }
                        for step in steps
                    ],
                }
                for hook, steps in called.items()
            }
        )
        return
    for hook in ORDERED:
        heading(hook)
        line(_ORDERED_WORDS[hook], indent=2, dim=True)
        steps = called[hook]
        table([(f"{place}.", step.plugin, origin(hook, step)) for place, step in enumerate(steps, start=1)], indent=2)
        click.echo()
    for calling, words in _UNORDERED_WORDS.items():
        heading(calling)
        line(words, indent=2, dim=True)
        of_calling = [(hook, steps) for hook, steps in called.items() if CALLING[hook] == calling]
        table([(hook, ", ".join(step.plugin for step in steps) or "-") for hook, steps in of_calling], indent=2)
        click.echo(nl=calling == "addressed")


def _steps(hook: str, hooks: Hooks) -> list[Step[Any]]:
    """The implementations of a hook, in the order in which they are called."""
    if hook in ("select_model", "decide_fallback", "admit", "report_gate"):
        return list(getattr(hooks, hook))
    if hook == "settle":
        return [Step(plugin, call) for plugin, call in hooks.settle.items()]
    if hook.endswith(("_sink", "_metric", "_requests")):
        method = hook.removesuffix("_sink").removesuffix("_metric").removesuffix("_requests")
        of_sinks = ((sink.name, getattr(sink, method)) for sink in hooks.sinks)
        return [Step(name, call) for name, call in of_sinks if call is not None]
    of_backends = ((name, getattr(one, hook.removesuffix("_backend"))) for name, one in hooks.backends.items())
    return [Step(name, call) for name, call in of_backends if call is not None]


@frozen
class _Origins:
    """Where each step's place comes from, by the lines of the configuration."""

    path: Path
    places: Mapping[tuple[str | int, ...], Position]

    def __call__(self, hook: str, step: Step[Any]) -> str:
        rank: Rank = step.placed_by
        ordered = self.places.get(("order", hook))
        if rank == "order":
            return f"[order] {hook}" + (f", {self.path}:{ordered.line}" if ordered else "")
        if rank != "default":
            return f"its own mark, @hookimpl({rank}=True)"
        beside = {"pipeline": "after the built-in ones", "asked": "before the built-in ones"}.get(CALLING[hook], "")
        built_in = step.plugin in BUILT_IN
        named = self.places.get(("plugins", step.plugin))
        where = f"{self.path}:{named.line}" if named else ""
        words = [
            "after what [order] names" if ordered else "" if built_in else beside,
            "built in" if built_in else "",
            f"set at {where}" if where and built_in else where,
        ]
        return ", ".join(filter(None, words))
