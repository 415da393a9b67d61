"""How many requests a verdict takes, how often it is wrong, and what it costs to ask.

    python benchmarks/verdict_power.py [--runs 200]

Simulates a path and its control path over many seeds, looked at after every request, with the default settings of a
verdict. Prints quantiles in requests of the path until a worse one is proved worse and an equal one proved equal; how
often equal paths are told apart, also by a test that is made for one look and by requests that come in clusters; and
the time of the functions that are asked most.
"""

import argparse
from bisect import insort
from collections.abc import Callable, Iterator
from itertools import islice
from math import log
from random import Random
from time import perf_counter

from pointsman.rollouts.observed import Observed, excess
from pointsman.rollouts.sequential import Counts, difference, evidence
from pointsman.rollouts.settings import Measure, VerdictSettings

SETTINGS = VerdictSettings()
ENOUGH = log(1 / SETTINGS.alpha)
SHARES = (0.1, 0.5)

LONGEST = 20_000
"""Requests of the path in one run, at most."""

LOOKS = 2000
"""Requests of both paths in a run that looks for false proofs."""

SKEWED = 0.7
"""The standard deviation of the logarithms of durations and costs."""

CLUSTER = 20
"""Requests of one unit, where they come in clusters."""

Seen = tuple[Counts, Counts]


def rates(chance: Random, share: float, path: float, control: float) -> Iterator[tuple[bool, Seen]]:
    """After each request whether it was the path's, and what was seen of both."""
    seen = {True: Counts(0, 0), False: Counts(0, 0)}
    while True:
        on_path = chance.random() < share
        fails = chance.random() < (path if on_path else control)
        seen[on_path] = Counts(seen[on_path].successes + (not fails), seen[on_path].failures + fails)
        yield on_path, (seen[True], seen[False])


def clustered(chance: Random, rate: float) -> Iterator[tuple[bool, Seen]]:
    """The same for equal paths, where each unit has a rate of its own and makes `CLUSTER` requests in a row."""
    seen = {True: Counts(0, 0), False: Counts(0, 0)}
    while True:
        on_path = chance.random() < 0.5
        own = chance.betavariate(1, 1 / rate - 1)
        for _ in range(CLUSTER):
            fails = chance.random() < own
            seen[on_path] = Counts(seen[on_path].successes + (not fails), seen[on_path].failures + fails)
            yield on_path, (seen[True], seen[False])


def until(requests: Iterator[tuple[bool, Seen]], proved: Callable[[Counts, Counts], bool]) -> int:
    """Requests of the path until something is proved."""
    for on_path, (one, other) in requests:
        if (on_path and proved(one, other)) or one.total >= LONGEST:
            return one.total
    raise AssertionError


def until_worse(path: float, control: float, margin: float, share: float, seed: int) -> int:
    return until(rates(Random(seed), share, path, control), lambda one, other: evidence(one, other, margin) >= ENOUGH)


def until_fine(rate: float, margin: float, share: float, seed: int) -> int:
    return until(rates(Random(seed), share, rate, rate), lambda one, other: evidence(other, one, -margin) >= ENOUGH)


def until_times_are(proved: str, measure: Measure, times: float, share: float, seed: int) -> int:
    """For times or costs of which the path has so many times as much. Looks after every 20 requests of the path."""
    chance, margin = Random(seed), SETTINGS.margin(measure)
    path, control = list[float](), list[float]()
    while len(path) < LONGEST:
        if chance.random() >= share:
            insort(control, chance.lognormvariate(0, SKEWED))
            continue
        insort(path, times * chance.lognormvariate(0, SKEWED))
        if len(path) % 20 == 0:
            low, high = excess(measure, _timed(path), _timed(control), SETTINGS.alpha).interval
            if (low > margin) if proved == "worse" else (high <= margin):
                return len(path)
    return LONGEST


def _timed(values: list[float]) -> Observed:
    none = Counts(0, 0)
    return Observed(
        path="", left_out=0, failures=none, fallbacks=none, durations=values, first_tokens=values, costs=values
    )


def quantiles(what: str, until_proved: Callable[[float, int], int], runs: int) -> None:
    for share in SHARES:
        took = sorted(until_proved(share, seed) for seed in range(runs))
        print(f"{what:52} {share:6.0%} {took[runs // 2]:8,} {took[runs * 95 // 100]:8,}")


def z_score(one: Counts, other: Counts) -> float:
    """What a test for one look goes by."""
    if not (one.total and other.total and one.failures + other.failures):
        return 0.0
    rate = (one.failures + other.failures) / (one.total + other.total)
    spread = (rate * (1 - rate) * (1 / one.total + 1 / other.total)) ** 0.5
    return (one.failures / one.total - other.failures / other.total) / spread if spread else 0.0


def false_proofs(what: str, stream: Callable[[Random], Iterator[tuple[bool, Seen]]], runs: int) -> None:
    ours = naive = 0
    for seed in range(runs):
        every = [seen for _, seen in islice(stream(Random(seed)), LOOKS)]
        ours += any(evidence(one, other, 0.0) >= log(20) for one, other in every)
        naive += any(one.total >= 50 and z_score(one, other) >= 1.645 for one, other in every)
    print(f"{what:52} {ours / runs:8.1%} {naive / runs:20.1%}")


def microseconds(function: Callable[[Counts, Counts], object], calls: int) -> float:
    """Of one call, each with other counts."""
    chance = Random(1)
    pairs = [
        (Counts(chance.randrange(900, 999), chance.randrange(9, 99)), Counts(9000 + at, chance.randrange(90, 400)))
        for at in range(calls)
    ]
    began = perf_counter()
    for one, other in pairs:
        function(one, other)
    return (perf_counter() - began) / calls * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=200, help="seeds of each")
    runs = parser.parse_args().runs
    began = perf_counter()

    print(f"requests of the path until it is proved; {runs} runs each; at most {LONGEST:,}")
    print(f"{'':52} {'share':>6} {'half':>8} {'95 %':>8}")
    for more in (0.05, 0.10, 0.30):
        margin, name = SETTINGS.failures, f"worse: {(0.02 + more) * 100:.0f} % failures against 2 %"
        quantiles(name, lambda share, seed, m=more, g=margin: until_worse(0.02 + m, 0.02, g, share, seed), runs)
    for times in (1.5, 2.0):
        name = f"worse: {times:g} times the p95 duration"
        quantiles(name, lambda share, seed, t=times: until_times_are("worse", "duration", t, share, seed), runs // 4)
    for rate in (0.0, 0.01, 0.02):
        margin, name = SETTINGS.failures, f"fine: {rate * 100:.0f} % failures on both"
        quantiles(name, lambda share, seed, r=rate, g=margin: until_fine(r, g, share, seed), runs)
    margin = SETTINGS.fallbacks
    quantiles("fine: 5 % fallbacks on both", lambda share, seed: until_fine(0.05, margin, share, seed), runs)
    timed: tuple[tuple[Measure, str], ...] = (("duration", "p95 durations"), ("cost", "median costs"))
    for measure, name in timed:
        proved = f"fine: equal {name}"
        quantiles(proved, lambda share, seed, m=measure: until_times_are("fine", m, 1.0, share, seed), runs // 4)

    print()
    print(f"equal paths told apart at 5 %, within {LOOKS:,} requests      {'here':>8} {'a test for one look':>20}")
    for rate in (0.02, 0.2):
        false_proofs(f"{rate * 100:.0f} % failures", lambda chance, r=rate: rates(chance, 0.5, r, r), runs)
        false_proofs(
            f"{rate * 100:.0f} % failures, units of {CLUSTER} requests",
            lambda chance, r=rate: clustered(chance, r),
            runs,
        )

    print()
    print(f"evidence   {microseconds(lambda one, other: evidence(one, other, 0.02), 5000):7.1f} us")
    print(f"difference {microseconds(lambda one, other: difference(one, other, 0.01), 500):7.1f} us")
    print(f"{perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
