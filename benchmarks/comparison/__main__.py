"""Pointsman beside what else one could call a model with, in one run.

    python benchmarks/comparison [--quick] [--only NAME ...] [--results FOLDER] [--offline]

A server of canned answers on one core (nginx where there is one), each contestant in a process of its own on another,
the same request and the same answer for everybody, both checked; rounds, and in each everybody in turn; medians, and
ratios taken round by round. CPU time stands beside wall time: it is what to look at where others use the machine. No
network but loopback, except that everybody is installed once, into an environment of their own
(`.benchmarks/comparison`). Prints the figures that the router is held to, and writes `comparison.md`, `.svg` and
`.json`: to benchmarks/results, or for anything but the whole run as it comes only where --results says. Exits with 1 if
a figure does not hold, or something could not be measured.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "processes"), str(HERE.parents[1])]

# ruff: noqa: E402 - what stands beside this file is found from here on
import figures
import report
from contestants import CONTESTANTS
from measuring import MORE, SCENARIOS, Effort, Measurement

RESULTS = Path(__file__).parents[1] / "results"


async def bounded(run: Measurement) -> None:
    """The run; told to end, it ends its processes first."""
    task = asyncio.current_task()
    with contextlib.suppress(NotImplementedError):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await run.run()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    names = [*(one.name for one in CONTESTANTS), *SCENARIOS, *MORE]
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--only", nargs="+", default=[], choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--rounds", type=int, help="rounds of each scenario")
    parser.add_argument("--seconds", type=float, help="for each contestant, scenario and round")
    parser.add_argument("--many", type=int, help="requests after which memory is looked at")
    parser.add_argument("--results", type=Path, help="the folder to write to")
    parser.add_argument(
        "--offline",
        action="store_true",
        help="install nothing: what pointsman is made of runs in this environment, others where they have theirs",
    )
    given = parser.parse_args()
    usual = Effort(rounds=2, seconds=0.3, many=2000, limit=30) if given.quick else Effort(rounds=5, seconds=1.0)
    effort = Effort(
        rounds=given.rounds or usual.rounds,
        seconds=given.seconds or usual.seconds,
        many=given.many or usual.many,
        limit=usual.limit,
    )
    run = Measurement(effort, frozenset(given.only), offline=given.offline)
    try:
        asyncio.run(bounded(run))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 1
    found = figures.figures(run.samples)
    command = " ".join(["python benchmarks/comparison", *sys.argv[1:]])
    print(
        "\n\n".join(
            filter(None, [report.about(run, command), report.table(found), report.missing(run), report.details(run)])
        )
    )
    if folder := given.results or (RESULTS if not sys.argv[1:] else None):
        report.write(run, found, command, folder)
    unmeasured = not given.only and any(one.holds is None for one in found)
    return int(any(one.holds is False for one in found) or bool(run.failed) or run.errors > 0 or unmeasured)


if __name__ == "__main__":
    sys.exit(main())
