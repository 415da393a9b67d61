"""Options that several commands have."""

import click

from .completion import names_of

config = click.option(
    "--config",
    type=click.Path(dir_okay=False),
    default="pointsman.toml",
    show_default=True,
    envvar="POINTSMAN_CONFIG",
    show_envvar=True,
    help="The configuration.",
)
task = click.option(
    "--task", help="The kind of work; else the configuration's default task.", shell_complete=names_of("tasks")
)
unit = click.option("--unit", help="Who is asking, for the rollout.")
model = click.option("--model", help="A model from the configuration, forced.", shell_complete=names_of("models"))
parameters = click.option(
    "--param", "parameters", multiple=True, metavar="NAME=JSON", help="A parameter, such as temperature=0.3."
)
json_ = click.option("--json", "as_json", is_flag=True, help="One JSON document.")
