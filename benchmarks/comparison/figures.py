"""The figures that the router is held to, and what was measured of each."""

import statistics
from collections.abc import Callable
from operator import itemgetter
from typing import Any

import traffic
from attrs import frozen
from measuring import MANY, Samples

MILLI, MIB = 1e3, 1 << 20
FLAT = 1.1
"""What fifty tasks, models or plugins may take, in what one takes, within the noise of the clock."""

Read = Callable[[dict[str, Any]], float]


def rate(round_: dict[str, Any]) -> float:
    """Requests in a second."""
    return round_["requests"] / round_["wall"]


def cpu(round_: dict[str, Any]) -> float:
    """CPU seconds for a request."""
    return round_["cpu"] / round_["requests"]


def wall(round_: dict[str, Any]) -> float:
    """Seconds for a request, where they come one at a time."""
    return round_["wall"] / round_["requests"]


def rate_by_cpu(round_: dict[str, Any]) -> float:
    """Requests in a second of CPU: what a core could do if nothing else ran on it."""
    return 1 / cpu(round_)


def grown(round_: dict[str, Any]) -> float:
    """Bytes above what the process had before."""
    return max(round_["peak"], round_["after"]) - round_["before"]


def left(round_: dict[str, Any]) -> float:
    """Bytes that have stayed."""
    return round_["after"] - round_["before"]


def was_measured(round_: dict[str, Any]) -> bool:
    return bool(round_) and "error" not in round_


def good(samples: Samples, scenario: str, name: str) -> list[dict[str, Any]]:
    """The rounds that were measured."""
    return [one for one in samples.get(scenario, {}).get(name, []) if was_measured(one)]


def median(samples: Samples, scenario: str, name: str, read: Read) -> float | None:
    """Over the rounds; None where there is none."""
    rounds = good(samples, scenario, name)
    return statistics.median(map(read, rounds)) if rounds else None


def paired(
    samples: Samples, scenario: str, names: tuple[str, str], read: Read, how: Callable[..., float]
) -> float | None:
    """The median of what is `how` between two, round by round: what slows a whole round down slows both."""
    rounds = zip(*(samples.get(scenario, {}).get(name, []) for name in names), strict=False)
    both = [how(read(one), read(other)) for one, other in rounds if was_measured(one) and was_measured(other)]
    return statistics.median(both) if both else None


def ratio(one: float, other: float) -> float:
    return one / other


def difference(one: float, other: float) -> float:
    return one - other


@frozen(kw_only=True)
class Figure:
    """One line of the table."""

    title: str
    wanted: str
    measured: str
    by_cpu: str = ""
    holds: bool | None
    """None: it was not measured."""


def figures(samples: Samples) -> list[Figure]:
    """Every figure, measured or not."""
    return [
        *_speed(samples),
        *_chunks(samples),
        *_fallback(samples),
        _blocking(samples),
        *_own(samples),
        *_memory(samples),
    ]


def _at_least(samples: Samples, title: str, scenario: str, names: tuple[str, str], least: float) -> Figure:
    measured = paired(samples, scenario, names, rate, ratio)
    by_cpu = paired(samples, scenario, names, rate_by_cpu, ratio)
    # Both have to: the clock can be wrong in either direction where others use the machine.
    holds = None if measured is None or by_cpu is None else min(measured, by_cpu) >= least
    wanted = f"at least {least:.3g} times"
    return Figure(title=title, wanted=wanted, measured=_times(measured), by_cpu=_times(by_cpu), holds=holds)


def _speed(samples: Samples) -> list[Figure]:
    title = "whole answers, 64 in flight, requests/s against"
    rows = [
        ("the bare httpx transport seam over aiohttp", "seam", 0.80),
        ("LiteLLM's Router", "litellm", 20),
        ("httpx.AsyncClient", "httpx", 8),
    ]
    return [_at_least(samples, f"{title} {what}", "whole-64", ("pointsman", name), least) for what, name, least in rows]


def _blocking(samples: Samples) -> Figure:
    title = "synchronous face, one at a time, requests/s against httpx.Client"
    return _at_least(samples, title, "whole-1", ("pointsman-sync", "httpx-sync"), 0.9)


def _chunks(samples: Samples) -> list[Figure]:
    rows = [
        ("LiteLLM's Router", "litellm", 1 / 25, "at most 1/25"),
        ("parsing the same bytes from memory and nothing else", "parsing", 2, "at most 2 times"),
        ("reading the same bytes with aiohttp and parsing them", "aiohttp", 2, "at most 2 times"),
    ]
    found: list[Figure] = []
    for what, name, most, wanted in rows:
        by_cpu = paired(samples, "stream", ("pointsman", name), cpu, ratio)
        measured = _times(by_cpu) if most > 1 or not by_cpu else f"1/{1 / by_cpu:.1f}"
        holds = None if by_cpu is None else by_cpu <= most
        title = f"streamed chunk, CPU, against {what}"
        found.append(Figure(title=title, wanted=wanted, measured="", by_cpu=measured, holds=holds))
    return found


def _fallback(samples: Samples) -> list[Figure]:
    found: list[Figure] = []
    for what, name in (("the bare seam", "seam"), ("aiohttp alone", "aiohttp")):
        measured = paired(samples, "fallback", ("pointsman", name), wall, difference)
        by_cpu = paired(samples, "fallback", ("pointsman", name), cpu, difference)
        found.append(
            Figure(
                title=f"fallback from a failed target, beyond the two HTTP calls by {what}",
                wanted="at most 0.2 ms",
                measured=_milliseconds(measured),
                by_cpu=_milliseconds(by_cpu),
                holds=None if measured is None or by_cpu is None else max(measured, by_cpu) <= 0.2 / MILLI,
            )
        )
    return found


def _own(samples: Samples) -> list[Figure]:
    told = next(iter(good(samples, "core", "pointsman")), None)
    calls = flat = None
    if told:
        requests = told["requests"]
        calls = in_each(requests["as in router_overhead"], told["pluggy"])
        alone = requests["one of each"]
        flat = max(in_each(seconds, alone) for name, seconds in requests.items() if name.startswith("50 "))
    took, busy = (median(samples, "import", "import pointsman", itemgetter(what)) for what in ("wall", "cpu"))
    return [
        Figure(
            title="core alone, a backend that answers at once, against one pluggy call with three implementations",
            wanted="at most 20 times",
            measured="",
            by_cpu=_times(calls),
            holds=None if calls is None else calls <= 20,
        ),
        Figure(
            title="core alone with 50 tasks, models or plugins configured, against one of each",
            wanted=f"flat: at most {FLAT} times",
            measured="",
            by_cpu=_times(flat),
            holds=None if flat is None else flat <= FLAT,
        ),
        Figure(
            title="`import pointsman` over importing pluggy, attrs, cattrs and asyncio",
            wanted="at most 10 ms",
            measured=_milliseconds(took),
            by_cpu=_milliseconds(busy),
            holds=None if took is None else took <= 10 / MILLI,
        ),
    ]


def in_each(these: list[float], those: list[float]) -> float:
    """The median of one in the other, round by round."""
    return statistics.median(map(ratio, these, those))


def _memory(samples: Samples) -> list[Figure]:
    rows = [("aiohttp's", "aiohttp"), ("the bare seam's", "seam")]
    found: list[Figure] = []
    for what, name in rows:
        measured = paired(samples, "held", ("pointsman", name), grown, ratio)
        holds = None if measured is None else measured <= 1.5
        many = next((one["requests"] for one in good(samples, "held", name)), MANY)
        title = f"memory, {many:,} requests in flight, growth against {what} own"
        found.append(Figure(title=title, wanted="at most 1.5 times", measured=_times(measured), holds=holds))
    return found


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value * MILLI:.2f} ms"


def columns(samples: Samples, scenario: str, name: str) -> list[str]:
    """What the table of one scenario says of one contestant, after its name."""
    rounds = good(samples, scenario, name)
    if not rounds:
        return [samples[scenario][name][-1].get("error", "")]
    read = {
        "memory": lambda: [f"{_median(rounds, left) / MIB:.1f}", f"{_median(rounds, grown) / MIB:.1f}"],
        "held": lambda: [
            f"{_median(rounds, grown) / MIB:.0f}",
            f"{_median(rounds, itemgetter('peak')) / MIB:.0f}",
        ],
        "start": lambda: [f"{_median(rounds, itemgetter(what)) * MILLI:.0f}" for what in ("wall", "cpu")],
    }
    if scenario in read:
        return read[scenario]()
    chunks = traffic.CHUNKS if scenario in {"stream", "paced"} else 1
    speed, busy = _median(rounds, rate) * chunks, _median(rounds, cpu) / chunks
    spread = (max(map(rate, rounds)) - min(map(rate, rounds))) / _median(rounds, rate)
    return [f"{speed:,.0f}", f"{busy * 1e6:,.1f}", f"{spread:.0%}"]


def _median(rounds: list[dict[str, Any]], read: Read) -> float:
    return statistics.median(map(read, rounds))
