"""`pointsman rollout set`, `off` and `on`."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from pointsman.config import RolloutSettings
from pointsman.loading import from_toml

from ..columns import line
from ..output import print_json, say, wrong_use
from .chosen import halted_words, halts_of, one_rollout, rollouts_of, shares_of
from .editing import Edit, edit, outside
from .moving import changed, document, in_words, moves_of_buckets

_COLOURS = {"+": "green", "-": "red"}


def set_shares(config: str, words: Sequence[str], name: str | None, *, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Shows what would change, and changes it."""
    snapshot = from_toml(Path(config), read_secrets=False)
    name, before = one_rollout(snapshot.config, name)
    shares = shares_of(words)
    after = changed(snapshot, name, shares)
    moves = moves_of_buckets(before, after)
    edited = edit(Path(config), {name: {"shares": shares}})
    if as_json:
        writes = not dry_run and _may_write(yes=yes)
        if writes:
            edited.write()
        print_json({**document(name, before, after, moves), "difference": edited.difference(), "written": writes})
        return
    if edited.before == edited.after:
        line(f"Nothing changes: {config} says so already.")
        return
    _show(edited)
    if before.off:
        line("The rollout is off, so nobody moves before `pointsman rollout on`.")
    else:
        line(in_words(moves, "units", after))
    for halt in halts_of(snapshot, name):
        line(halted_words(halt))
    if dry_run:
        return
    if _may_write(yes=yes):
        edited.write()
        line(f"Written. Programs that watch {config} use it within a second.", dim=True)
    else:
        say("nothing is written")


def switch(config: str, name: str | None, *, off: bool, as_json: bool) -> None:
    """Switches rollouts off or on, at once. What stands in the environment holds up none of the others."""
    path = Path(config)
    found = rollouts_of(from_toml(path, read_secrets=False).config, name)
    other = [one for one, settings in found.items() if settings.off != off]
    elsewhere = {one: told for one in other if (told := outside(path, one, "off"))}
    edited = edit(path, {one: {"off": off} for one in other if one not in elsewhere})
    if edited.before != edited.after:
        edited.write()
    if as_json:
        now = {one: settings.off if one in elsewhere else off for one, settings in found.items()}
        print_json({one: {"off": now[one], "changed": now[one] != settings.off} for one, settings in found.items()})
    else:
        for one in [one for one in found if one not in elsewhere]:
            line(f"{one} is {'off' if off else 'on'}: {_who(found[one], off=off)}.")
    if elsewhere:
        wrong_use("; ".join(elsewhere.values()))


def _who(rollout: RolloutSettings, *, off: bool) -> str:
    return f"everyone takes {rollout.control}" if off else "the shares hold"


def _may_write(*, yes: bool) -> bool:
    """Whether the change is wanted: said beforehand, or when asked."""
    if yes:
        return True
    if not sys.stdin.isatty():
        wrong_use("nothing is written without --yes where nobody can be asked")
    return click.confirm("Write it?", err=True)


def _show(edited: Edit) -> None:
    for text in edited.difference():
        click.secho(text, fg=_COLOURS.get(text[:1]) if not text.startswith(("+++", "---")) else None)
