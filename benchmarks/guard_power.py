"""After how many of its requests a path that fails more is taken out by the guard, and how often an equal one is.

    python benchmarks/guard_power.py [--runs 400]

Simulates the guard with its default settings, looking after every request, over many seeds. Prints quantiles in
requests of the path, and the share of runs in which a path with the same rate as control was halted.
"""

import argparse
from math import log
from random import Random
from time import perf_counter

from pointsman import RolloutSettings
from pointsman.policy.guard import TRIALS, Guard, Watch

CONTROL = 0.02
"""The rate of setbacks on the control path."""

WORSE = (0.05, 0.10, 0.30)
"""How much higher it is on the path."""

SHARES = (0.1, 0.5)

LONGEST = 20_000
"""Requests of the path in one run, at most."""


def halted_after(path: float, control: float, share: float, seed: int, longest: int = LONGEST) -> int | None:
    """Requests of the path until it is halted; the rates are those of setbacks."""
    guard, chance = Guard(), Random(seed)
    watch = Watch(RolloutSettings(control="control", shares={"path": share * 100}), guard.window)
    requests = 0
    while requests < longest:
        on_path = chance.random() < share
        requests += on_path
        setback = chance.random() < (path if on_path else control)
        watch.count(on_path=on_path, setback=setback)
        if on_path and setback and watch.worse(guard.margin, guard.at_least, log(TRIALS / guard.false_alarms)):
            return requests
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=400, help="seeds of each")
    runs = parser.parse_args().runs
    began = perf_counter()
    print(f"control: {CONTROL:.0%} setbacks; {runs} runs of each")
    print("path's setbacks  share   half out by  95 % out by  all out by")
    for more in WORSE:
        for share in SHARES:
            took = sorted(halted_after(CONTROL + more, CONTROL, share, seed) or LONGEST for seed in range(runs))
            half, most = took[runs // 2], took[runs * 95 // 100]
            print(f"{CONTROL + more:15.0%} {share:6.0%} {half:13,} {most:12,} {took[-1]:11,}")
    for rate in (0.02, 0.2):
        alarms = sum(halted_after(rate, rate, 0.5, seed, longest=2000) is not None for seed in range(runs))
        print(f"equal paths with {rate:.0%} setbacks, 2,000 requests of the path: {alarms} of {runs} runs halted")
    print(f"{perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
