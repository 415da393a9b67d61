"""The commands and their options. What each does is in its own module, imported when it runs."""

from typing import TextIO

import click

from .. import options
from ..completion import names_of

_rollout = click.option(
    "--rollout", "name", help="Which one; else [rollout], or the only one.", shell_complete=names_of("rollouts")
)
_all_rollouts = click.option(
    "--rollout", "name", help="Which one; else all of them.", shell_complete=names_of("rollouts")
)
_shares = click.argument("shares", nargs=-1, required=True, metavar="PATH=PERCENT...")


@click.group("rollout")
def rollout() -> None:
    """Look at a rollout, change it, and see how it does."""


@rollout.command()
@options.config
@_all_rollouts
@click.option("--unit", "units", multiple=True, help="What this unit would get, and why. Can be given again.")
@options.json_
def show(*, config: str, name: str | None, units: tuple[str, ...], as_json: bool) -> None:
    """Show who takes which path, and where that is said."""
    from .show import run  # noqa: PLC0415 - only this command needs it

    run(config, name, units, as_json=as_json)


@rollout.command("set")
@_shares
@options.config
@_rollout
@click.option("--yes", is_flag=True, help="Write without asking.")
@click.option("--dry-run", is_flag=True, help="Only show what would be changed.")
@options.json_
def set_(*, shares: tuple[str, ...], config: str, name: str | None, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Change shares in the configuration's file, such as proxied=50.

    Shows the difference first, and which units that moves. Comments and layout stay. Running programs that watch the
    file use it within a second.
    """
    from .change import set_shares  # noqa: PLC0415 - as above

    set_shares(config, shares, name, yes=yes, dry_run=dry_run, as_json=as_json)


@rollout.command()
@options.config
@_all_rollouts
@options.json_
def off(*, config: str, name: str | None, as_json: bool) -> None:
    """Send everyone to the control path, at once and without asking."""
    from .change import switch  # noqa: PLC0415 - as above

    switch(config, name, off=True, as_json=as_json)


@rollout.command()
@options.config
@_all_rollouts
@options.json_
def on(*, config: str, name: str | None, as_json: bool) -> None:
    """Let the shares hold again after `off`."""
    from .change import switch  # noqa: PLC0415 - as above

    switch(config, name, off=False, as_json=as_json)


@rollout.command()
@_shares
@options.config
@_rollout
@click.option(
    "--units", "file", type=click.File(encoding="utf-8-sig"), help="A file with a unit on each line; - is stdin."
)
@click.option("--column", metavar="NAME", help="The file is CSV with a header, and its units are in this column.")
@click.option("--list", "listed", is_flag=True, help="The units that would move, one on each line.")
@options.json_
def preview(
    *,
    shares: tuple[str, ...],
    config: str,
    name: str | None,
    file: TextIO | None,
    column: str | None,
    listed: bool,
    as_json: bool,
) -> None:
    """See who would move, before anything is changed."""
    from .preview import run  # noqa: PLC0415 - as above

    run(config, shares, name, file=file, column=column, listed=listed, as_json=as_json)


@rollout.command()
@options.config
@_all_rollouts
@click.option(
    "--since",
    metavar="WHEN",
    help="No earlier requests: how long ago, such as 7d, or a time. The error rate holds for one that is chosen "
    "before anything is looked at.",
)
@click.option("--from", "keeper", metavar="NAME", help="The plugin to ask, where several keep requests.")
@options.json_
def status(*, config: str, name: str | None, since: str | None, keeper: str | None, as_json: bool) -> None:
    """Judge each path by what was recorded: advance, hold or step back.

    May be looked at as often as one likes: docs/verdict.md says what is guaranteed.
    """
    from .status import run  # noqa: PLC0415 - as above

    run(config, name, since=since, keeper=keeper, as_json=as_json)


@rollout.command()
@options.config
@_all_rollouts
@options.json_
def resume(*, config: str, name: str | None, as_json: bool) -> None:
    """Let units onto paths again that the guard has halted."""
    from .resume import run  # noqa: PLC0415 - as above

    run(config, name, as_json=as_json)
