"""One circuit: when it opens, when it lets one attempt through to see, and when it closes.

A state machine that reads no clock, has no chance of its own and takes no lock: whoever keeps it does. Times are
seconds on one monotonic clock.

    closed ──enough failures, or one that opens at once──▶ open
    open ──its time is over, and somebody asks──▶ half open, that one attempt is the probe
    half open ──the probe succeeds──▶ closed        ──the probe fails──▶ open, for twice as long

Each admission is given the generation that it belongs to. A result of another generation came too late to say
anything about the present one, and is ignored. A probe's lease ends, so a probe that is never heard of again
keeps nobody out.
"""

from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from attrs import frozen

from ..events import CircuitState

Draw: TypeAlias = Callable[[], float]
"""Draws a number in [0, 1). It is asked where a circuit opens, for how long."""

GRAIN = 30
"""Parts that the window is counted in: one of them is how late a failure may still be remembered."""


@frozen(kw_only=True)
class Thresholds:
    """What opens a circuit, and for how long. Times in seconds."""

    in_a_row: int
    share: float
    at_least: int
    window: float
    open_for: float
    open_at_most: float
    opens_at_once_for: float
    lease: float


@frozen
class Change:
    """A circuit went from one state to another."""

    before: CircuitState
    after: CircuitState
    why: str
    open_for: float | None = None


class Circuit:
    """Begins closed."""

    def __init__(self, thresholds: Thresholds) -> None:
        self.thresholds = thresholds
        self.state: CircuitState = "closed"
        self.why = ""
        self.generation = 0
        self._until = 0.0
        """While open: when a probe may go. While half open: when the lease of the probe ends."""
        self._openings = 0
        """How often it has opened since it was last closed."""
        self.lately = Lately(thresholds.window)
        """All that an answer changes while the circuit is closed."""

    def admits(self, now: float) -> bool:
        """Whether an attempt may go now."""
        return self.state == "closed" or now >= self._until

    def retry_after(self, now: float) -> float | None:
        """Seconds until an attempt may go, or until it is worth asking again; None when one may go now."""
        return None if self.admits(now) else self._until - now

    def admit(self, now: float, ends_by: float = 0.0) -> Change | None:
        """Lets an attempt go, which `admits` has allowed; its results belong to the `generation` after this.

        Its lease lasts until `ends_by` at least, by when an attempt that is heard of at all has ended.
        """
        if self.state == "closed":
            return None
        before = self.state
        self._move("half_open")
        self._until = max(now + self.thresholds.lease, ends_by)
        return None if before == "half_open" else Change(before, "half_open", "one attempt may see whether it works")

    def succeeded(self, generation: int, now: float) -> Change | None:
        """An attempt of `generation` was answered."""
        if generation != self.generation:
            return None
        if self.state == "half_open":
            self._move("closed")
            self.why = ""
            self._openings = 0
            self.lately.clear()
            return Change("half_open", "closed", "an attempt succeeded")
        self.lately.succeeded(now)
        return None

    def failed(self, generation: int, now: float, draw: Draw, why: str) -> Change | None:
        """An attempt of `generation` failed in a way that counts."""
        if generation != self.generation:
            return None
        if self.state == "half_open":
            return self._open(now, self._next_pause(self.thresholds.open_for, draw), why)
        limits, lately = self.thresholds, self.lately
        lately.failed(now)
        if lately.in_a_row >= limits.in_a_row:
            return self._open(
                now, self._next_pause(limits.open_for, draw), f"{lately.in_a_row} failures in a row: {why}"
            )
        failures, total = lately.counts()
        if total >= limits.at_least and failures >= limits.share * total:
            what = f"{failures} of {total} failed within {limits.window:g} s: {why}"
            return self._open(now, self._next_pause(limits.open_for, draw), what)
        return None

    def tripped(self, generation: int, now: float, seconds: float | None, draw: Draw, why: str) -> Change | None:
        """An attempt of `generation` failed in a way that opens at once: for `seconds`, where the server said so."""
        if generation != self.generation:
            return None
        if seconds is None:
            seconds = self._next_pause(self.thresholds.opens_at_once_for, draw)
        return self._open(now, seconds, why)

    def released(self, generation: int) -> None:
        """An attempt of `generation` ended in a way that says nothing. Where it was the probe, another may go."""
        if generation == self.generation and self.state == "half_open":
            self._until = 0.0

    def _open(self, now: float, seconds: float, why: str) -> Change:
        before = self.state
        self._move("open")
        self.why = why
        self._until = now + seconds
        self._openings += 1
        return Change(before, "open", why, seconds)

    def _next_pause(self, first: float, draw: Draw) -> float:
        """Doubles with each opening up to the cap; up to half of it is chance, so that not all come back at once."""
        longest = max(self.thresholds.open_at_most, first)
        pause = min(first * 2.0 ** min(self._openings, 60), longest)
        return pause * (1.0 - draw() / 2)

    def _move(self, state: CircuitState) -> None:
        self.state = state
        self.generation += 1


class Lately:
    """Successes and failures of the last seconds, counted in parts of the window, and failures in a row."""

    def __init__(self, window: float) -> None:
        self._grain = window / GRAIN
        self._parts: deque[list[int]] = deque()
        """Each: its place in time, attempts, failures."""
        self.clear()

    def succeeded(self, now: float) -> None:
        """An attempt was answered."""
        if now >= self._part_ends:
            self._begin_part(now)
        self._part[1] += 1
        self.in_a_row = 0

    def failed(self, now: float) -> None:
        """An attempt failed in a way that counts."""
        if now >= self._part_ends:
            self._begin_part(now)
        self._part[1] += 1
        self._part[2] += 1
        self.in_a_row += 1

    def counts(self) -> tuple[int, int]:
        """Failures, and attempts, in the window that ended with the last one added."""
        return self._failures_before + self._part[2], self._attempts_before + self._part[1]

    def clear(self) -> None:
        self.in_a_row = 0
        self._parts.clear()
        self._part = [0, 0, 0]
        self._part_ends = 0.0
        self._attempts_before = self._failures_before = 0
        """In the parts of the window before the last one."""

    def _begin_part(self, now: float) -> None:
        self._attempts_before += self._part[1]
        self._failures_before += self._part[2]
        place = int(now / self._grain)
        self._part = [place, 0, 0]
        self._parts.append(self._part)
        self._part_ends = (place + 1) * self._grain
        while self._parts[0][0] <= place - GRAIN:
            _, attempts, failures = self._parts.popleft()
            self._attempts_before -= attempts
            self._failures_before -= failures
