"""`pointsman rollout resume`: ends what the guard has halted, for every process that shares its file."""

from pathlib import Path

from pointsman.loading import from_toml
from pointsman.policy.guard import Guard

from ..columns import line
from ..output import print_json, wrong_use
from .chosen import rollouts_of


def run(config: str, name: str | None, *, as_json: bool) -> None:
    """Resumes the halted paths of one rollout, or of all of them."""
    snapshot = from_toml(Path(config), read_secrets=False)
    rollouts_of(snapshot.config, name)
    guards = [one.instance for one in snapshot.plugins if isinstance(one.instance, Guard)]
    if not guards:
        wrong_use("no guard is named in the configuration; [plugins.guard] is one")
    if not any(guard.file for guard in guards):
        wrong_use(
            "the guard keeps no file, so what it halted is known to the running program alone: "
            'call router.rollout.resume() there, or give it one: [plugins.guard] file = "halts.jsonl"'
        )
    gone = [halt for guard in guards if guard.file for halt in guard.resume(name)]
    if as_json:
        print_json([{"rollout": one.way.rollout, "path": one.way.path, "why": one.why} for one in gone])
        return
    for halt in gone:
        line(f"{halt.way.rollout}: {halt.way.path} has its share again. It was halted because {halt.why}.")
    if not gone:
        line("Nothing is halted.")
