"""Breaks the policy and the plan on purpose, one small thing at a time, and says what no test notices.

    python -m mutations [--only policy/circuit.py] [--rules] [--processes 2]

First the mutations of rules.toml, each of which breaks a rule that has a name; every one has to make a test fail. Then
every small mutation of every file; at least 95 % have to, and each of the others has its reason in survivors.toml.
Exits with 1 when that is not so.

Our own and not mutmut, which passes decorated functions by, and with them all that a hook does; nor cosmic-ray,
which writes each mutation to the working tree and starts a Python for it.
"""

import argparse
import os
import sys
import time
import tomllib
from pathlib import Path

from .operators import Mutation, mutations
from .running import PACKAGE, Reach, killers, measure

HERE = Path(__file__).parent
FILES = (
    *("plan.py", "asking.py", "endings.py"),
    *(f"policy/{path.name}" for path in sorted((PACKAGE / "policy").glob("*.py"))),
)
TESTS = tuple(
    f"tests/core/test_{name}.py"
    for name in (
        *("plan", "fallback", "gate", "rollout", "rollouts", "guard", "circuit", "breaker"),
        *("retries", "limits", "last_resort", "policy_settings", "steps", "asking"),
    )
)
"""Those that are about these files and need no server."""
ENOUGH = 0.95


def rules() -> list[Mutation]:
    """The mutations of rules.toml."""
    made: list[Mutation] = []
    lost: list[str] = []
    for rule in tomllib.loads((HERE / "rules.toml").read_text(encoding="utf-8"))["rule"]:
        source = (PACKAGE / rule["file"]).read_text(encoding="utf-8")
        if source.count(rule["find"]) != 1:
            lost.append(f"rules.toml: {rule['name']}: {rule['file']} has the text to find not exactly once")
            continue
        before = source[: source.index(rule["find"])]
        first = before.count("\n") + 1
        # What stands at the margin is no function's: it takes effect when the module is imported.
        imported = before.endswith("\n") and not rule["find"].startswith(" ")
        lines = range(0) if imported else range(first, first + rule["find"].rstrip("\n").count("\n") + 1)
        changed = source.replace(rule["find"], rule["replace"])
        made.append(Mutation(rule["file"], "", rule["name"], rule["rule"], "", lines, changed))
    if lost:
        raise SystemExit("\n".join(lost))
    return made


def try_rules(broken: list[Mutation], reach: Reach, processes: int) -> bool:
    """Whether breaking any of the named rules makes a test fail."""
    held = True
    for mutant, killer in killers(broken, reach, processes):
        print(f"{mutant.line}: {killer or 'NO TEST NOTICES'}")
        held = held and killer is not None
    return held


def try_everything(files: tuple[str, ...], reach: Reach, processes: int) -> bool:
    """Whether enough small mutations make a test fail, and each of the others has its reason."""
    explained = {
        one["mutation"]: one["why"]
        for one in tomllib.loads((HERE / "survivors.toml").read_text(encoding="utf-8")).get("survivor", ())
    }
    mutants = [one for file in files for one in mutations(file, (PACKAGE / file).read_text(encoding="utf-8"))]
    left: set[str] = set()
    for mutant, killer in killers(mutants, reach, processes):
        if killer is not None:
            continue
        left.add(mutant.name)
        if mutant.name not in explained:
            print(f"survived: {mutant.name}" + ("" if reach.of(mutant) else " (no test reaches it)"), flush=True)
    unexplained = left - explained.keys()
    for name in sorted(explained.keys() - left):
        if name.partition(" ")[0] in files:
            print(f"explained, but noticed or gone: {name}")
    share = 1 - len(left) / len(mutants)
    print(f"{len(mutants)} mutations, {len(mutants) - len(left)} noticed: {share:.1%}; {len(unexplained)} unexplained")
    return share >= ENOUGH and not unexplained


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m mutations", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", metavar="FILE", action="append", choices=FILES, help="small mutations of this file")
    parser.add_argument("--rules", action="store_true", help="the named rules alone")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    began = time.monotonic()
    broken = rules()
    reach = measure(TESTS, FILES, options.processes)
    print(f"{len(reach.tests)} tests pass unchanged ({time.monotonic() - began:.0f} s)", flush=True)
    held = options.only is not None or try_rules(broken, reach, options.processes)
    if not options.rules:
        held = try_everything(tuple(options.only or FILES), reach, options.processes) and held
    print(f"{time.monotonic() - began:.0f} s")
    return int(not held)


if __name__ == "__main__":
    sys.exit(main())
