"""The commands and their options. What each does is in its own module, imported when it runs."""

import os
import sys
from typing import Any

import click

from . import options
from .completion import names_of
from .output import reported, wrong_use
from .rollout.commands import rollout


class _Reporting(click.Group):
    """Commands whose errors are words and an exit status."""

    def invoke(self, ctx: click.Context) -> object:
        with reported():
            return super().invoke(ctx)


_COLOUR = False if os.environ.get("NO_COLOR") else None


_COMPLETION = """\b
Tab completion, for bash (zsh and fish likewise), in ~/.bashrc:
  eval "$(_POINTSMAN_COMPLETE=bash_source pointsman)"
"""


@click.group(
    cls=_Reporting, epilog=_COMPLETION, context_settings={"help_option_names": ["-h", "--help"], "color": _COLOUR}
)
@click.version_option(package_name="pointsman")
def app() -> None:
    """Route LLM calls: which model answers, through which backend, and what happens when it fails."""


@app.command()
@click.option("--share", type=click.FloatRange(0, 100), default=50, show_default=True, help="Per cent on the proxy.")
@click.option(
    "--proxy",
    type=click.Choice(["up", "dies", "502", "hangs"]),
    default="up",
    show_default=True,
    help="What becomes of the LiteLLM proxy half-way.",
)
@click.option("--pace", type=click.FloatRange(0, 5), default=1.0, show_default=True, help="0 is as fast as it goes.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of the show.")
def demo(*, share: float, proxy: str, pace: float, as_json: bool) -> None:
    """Watch twelve calls find their way, offline and without a key.

    Both real backends run against servers on this machine that speak as the LiteLLM proxy and as OpenRouter do.
    """
    from .demo import run  # noqa: PLC0415 - only this command needs it

    run(share=share, proxy=proxy, pace=pace, as_json=as_json)


@app.command()
@click.argument("prompt", nargs=-1)
@options.config
@options.task
@options.unit
@options.model
@click.option("--system", help="A system message before the prompt.")
@click.option(
    "--deadline",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="For everything, retries included.",
)
@options.parameters
@click.option("--stream/--no-stream", default=True, show_default=True, help="The answer as it is written, or whole.")
@click.option("--json", "as_json", is_flag=True, help="The answer and its decision as one JSON document.")
def ask(
    *,
    prompt: tuple[str, ...],
    config: str,
    task: str | None,
    unit: str | None,
    model: str | None,
    system: str | None,
    deadline: float | None,
    parameters: tuple[str, ...],
    stream: bool,
    as_json: bool,
) -> None:
    """Send one request, and see who served it and why.

    The prompt is the arguments, or standard input where there are none. The answer goes to standard
    output, the account of how it came about to standard error.
    """
    from .ask import run  # noqa: PLC0415 - only this command needs it

    text = " ".join(prompt) if prompt else _typed()
    if not text.strip():
        wrong_use("there is no prompt: give it as arguments, or on standard input")
    messages = [{"role": "system", "content": system}] if system else []
    run(
        config,
        [*messages, {"role": "user", "content": text}],
        task=task,
        unit=unit,
        model=model,
        deadline=deadline,
        parameters=dict(_parameter(one) for one in parameters),
        stream=stream,
        as_json=as_json,
    )


@app.command()
@options.config
@click.option("--ping", is_flag=True, help="Ask each backend whether it is there. Nothing that costs.")
@options.json_
def check(*, config: str, ping: bool, as_json: bool) -> None:
    """See whether everything is in place.

    Looks at the configuration, plugins, hooks, keys and, with --ping, the backends. What is not right is told with
    what to do about it.

    Ends with 0 where all is well, 1 where a backend does not answer, 2 where the configuration or a key is at fault.
    """
    from .check import run  # noqa: PLC0415 - only this command needs it

    run(config, ping=ping, as_json=as_json)


@app.command()
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=names_of("plugins"))
@options.config
@options.json_
def plugins(*, names: tuple[str, ...], config: str, as_json: bool) -> None:
    """List what is installed, active or broken.

    With a NAME, tells what that plugin does, its hooks and its settings.
    """
    from .plugins import run  # noqa: PLC0415 - only this command needs it

    run(config, names, as_json=as_json)


@app.command()
@options.config
@options.json_
def hooks(*, config: str, as_json: bool) -> None:
    """Show the order of calls, and where it comes from."""
    from .hooks import run  # noqa: PLC0415 - only this command needs it

    run(config, as_json=as_json)


@app.command()
@click.argument("prompt", nargs=-1)
@options.config
@options.task
@options.unit
@options.model
@options.parameters
@options.json_
def explain(
    *,
    prompt: tuple[str, ...],
    config: str,
    task: str | None,
    unit: str | None,
    model: str | None,
    parameters: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show what would be decided, without calling anyone.

    Tells which candidates each step leaves and why, and the rollout's bucket and path. Needs no key. The prompt
    matters only where a plugin reads it.
    """
    from .explain import run  # noqa: PLC0415 - only this command needs it

    run(
        config,
        " ".join(prompt) or "?",
        task=task,
        unit=unit,
        model=model,
        parameters=dict(_parameter(one) for one in parameters),
        as_json=as_json,
    )


@app.command()
@options.config
@click.option("--task", help="The kind of work.", shell_complete=names_of("tasks"))
@click.option("--model", help="The model that answered.", shell_complete=names_of("models"))
@click.option("--path", help="The assigned path.", shell_complete=names_of("paths"))
@click.option("--rollout", help="The rollout that assigned it.")
@click.option(
    "--outcome",
    type=click.Choice(["answered", "last_resort", "failed", "cancelled", "abandoned"]),
    help="How it ended.",
)
@click.option("--unit", help="Who asked.")
@click.option("--since", metavar="WHEN", help="How long ago, such as 30m, 1h or 2d; or a time: 2026-11-25T10:00.")
@click.option("--until", metavar="WHEN", help="The same; this moment not included.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="The newest so many.")
@click.option("--request", "request_id", metavar="ID", help="One request, told whole. Its first letters do.")
@click.option("-v", "--verbose", "whole", is_flag=True, help="Tell each request whole.")
@click.option("--from", "keeper", metavar="NAME", help="The plugin to ask, where several keep requests.")
@options.json_
def logs(
    *, config: str, since: str | None, until: str | None, keeper: str | None, whole: bool, as_json: bool, **wanted: Any
) -> None:
    """Read what was decided, from a plugin that keeps requests.

    A line for each request that fits, the newest last. Such a plugin is metrics_sqlite. Needs no key.
    """
    from .logs import query, run  # noqa: PLC0415 - only this command needs it

    asked = query(since=since, until=until, **wanted)
    run(config, asked, keeper=keeper, whole=whole or asked.request_id is not None, as_json=as_json)


app.add_command(rollout)


@app.group("config")
def config_() -> None:
    """Show the configuration in effect, or its schema."""


@config_.command()
@options.config
@click.option("--origin", is_flag=True, help="Beside each value the line that it comes from.")
@options.json_
def show(*, config: str, origin: bool, as_json: bool) -> None:
    """Print everything that takes effect, defaults included. No key is read."""
    from .config.show import run  # noqa: PLC0415 - only this command needs it

    run(config, origin=origin, as_json=as_json)


@config_.command()
@click.option("--json", is_flag=True, expose_value=False, help="The same: the schema is JSON in any case.")
def schema() -> None:
    """Print a JSON Schema for editors, with the plugins that are installed here.

    \b
    Even Better TOML and taplo find it through the configuration's first line:
      #:schema ./pointsman.schema.json
    """  # noqa: D301 - the backslash keeps the lines as they are
    from .config.schema import run  # noqa: PLC0415 - only this command needs it

    run()


def _typed() -> str:
    """The prompt from standard input."""
    if sys.stdin.isatty():
        click.echo("Type the prompt, and Ctrl-D on a line of its own to end it:", err=True)
    return sys.stdin.read().strip()


_SAID_BY = {
    "messages": "the prompt and --system",
    "stream": "--stream or --no-stream",
    **{name: f"--{name}" for name in ("task", "unit", "model", "deadline")},
}
"""What says it in place of `--param`."""


def _parameter(text: str) -> tuple[str, object]:
    """`temperature=0.3` as name and value; what is not JSON is taken as text."""
    import json  # noqa: PLC0415 - as above

    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.BadParameter(f'"{text}" is not NAME=JSON', param_hint="--param")
    if name in _SAID_BY:
        raise click.BadParameter(f"{name} is said by {_SAID_BY[name]}", param_hint="--param")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
