"""The circuits of a router, by what they guard, behind a small interface.

What keeps them is replaceable, so that processes can share one day what they learn; in-process is the default.
"""

import threading
from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, TypeAlias

from attrs import frozen

from ..events import CircuitScope, CircuitState
from .circuit import Change, Circuit, Draw, Thresholds


class CircuitKey(NamedTuple):
    """What a circuit guards."""

    scope: CircuitScope
    name: str


@frozen
class Opens:
    """The attempt failed in a way that opens the circuit at once, for so many seconds where the server said so."""

    seconds: float | None


Effect: TypeAlias = Literal["succeeded", "failed", "neutral"] | Opens
"""What an attempt's end means for one circuit."""


class Lease:
    """Leave for one attempt. What a store needs to know at its end is the store's own."""


@frozen
class Shut:
    """A circuit that lets nothing through now."""

    key: CircuitKey
    why: str
    retry_after: float


@frozen
class Moved:
    """A circuit that changed."""

    key: CircuitKey
    change: Change


@frozen
class Reading:
    """A circuit as it stands."""

    key: CircuitKey
    state: CircuitState
    why: str
    retry_after: float | None


class CircuitStore(Protocol):
    """Keeps circuits. Every method is called from any thread, and is atomic."""

    def admit(self, keys: tuple[CircuitKey, ...], now: float, ends_by: float) -> tuple[Lease | Shut, Sequence[Moved]]:
        """A lease when every circuit of `keys` lets an attempt through, else the one that stays shut the longest.

        `ends_by` is when an attempt that is made now has ended.
        """
        ...

    def settle(self, lease: Lease, effects: Sequence[Effect], why: str, now: float, draw: Draw) -> Sequence[Moved]:
        """The leased attempt ended, with one effect for each of its keys."""
        ...

    def still_holds(self, lease: Lease) -> bool:
        """Whether a lease that was given before may be given again: all is closed, and nothing has moved since."""
        ...

    def succeed(self, lease: Lease, now: float) -> Sequence[Moved]:
        """The leased attempt was answered: a success for each of its keys."""
        ...

    def readings(self, now: float) -> Sequence[Reading]:
        """Every circuit that was ever asked about."""
        ...


@frozen(eq=False)
class _Held(Lease):
    """Circuits with the generation that the attempt belongs to in each."""

    parts: tuple[tuple[CircuitKey, Circuit, int], ...]
    moves: int
    """How often any circuit had moved when it was given; -1 where it is good for one attempt only."""


class InProcess(CircuitStore):
    """Circuits in the memory of one process."""

    def __init__(self, thresholds: Thresholds) -> None:
        self._thresholds = thresholds
        self._lock = threading.Lock()
        self._circuits: dict[CircuitKey, Circuit] = {}
        self._moves = 0

    def admit(self, keys: tuple[CircuitKey, ...], now: float, ends_by: float) -> tuple[Lease | Shut, Sequence[Moved]]:
        with self._lock:
            circuits = [self._circuit(key) for key in keys]
            shut = [
                Shut(key, circuit.why, circuit.retry_after(now) or 0.0)
                for key, circuit in zip(keys, circuits, strict=True)
                if not circuit.admits(now)
            ]
            if shut:
                return max(shut, key=lambda one: one.retry_after), ()
            moved = _moved(keys, [circuit.admit(now, ends_by) for circuit in circuits])
            self._moves += len(moved)
            parts = zip(keys, circuits, [circuit.generation for circuit in circuits], strict=True)
            calm = all(circuit.state == "closed" for circuit in circuits)
            return _Held(tuple(parts), self._moves if calm else -1), moved

    def still_holds(self, lease: Lease) -> bool:
        return isinstance(lease, _Held) and lease.moves == self._moves

    def settle(self, lease: Lease, effects: Sequence[Effect], why: str, now: float, draw: Draw) -> Sequence[Moved]:
        changes: list[Moved] = []
        with self._lock:
            for (key, circuit, generation), effect in zip(_held(lease).parts, effects, strict=True):
                change = None
                if effect == "succeeded":
                    change = circuit.succeeded(generation, now)
                elif effect == "failed":
                    change = circuit.failed(generation, now, draw, why)
                elif isinstance(effect, Opens):
                    change = circuit.tripped(generation, now, effect.seconds, draw, why)
                else:
                    circuit.released(generation)
                if change is not None:
                    changes.append(Moved(key, change))
            self._moves += len(changes)
        return changes

    def succeed(self, lease: Lease, now: float) -> Sequence[Moved]:
        changes: list[Moved] = []
        held = _held(lease)
        with self._lock:
            if held.moves == self._moves:
                for _, circuit, _ in held.parts:
                    circuit.lately.succeeded(now)
                return ()
            for key, circuit, generation in held.parts:
                change = circuit.succeeded(generation, now)
                if change is not None:
                    changes.append(Moved(key, change))
                    self._moves += 1
        return changes

    def readings(self, now: float) -> Sequence[Reading]:
        with self._lock:
            return [
                Reading(key, circuit.state, circuit.why, circuit.retry_after(now))
                for key, circuit in self._circuits.items()
            ]

    def _circuit(self, key: CircuitKey) -> Circuit:
        return self._circuits.get(key) or self._circuits.setdefault(key, Circuit(self._thresholds))


def _held(lease: Lease) -> _Held:
    if not isinstance(lease, _Held):
        raise TypeError(f"a lease of another store: {type(lease).__name__}")
    return lease


def _moved(keys: Sequence[CircuitKey], changes: Sequence[Change | None]) -> list[Moved]:
    return [Moved(key, change) for key, change in zip(keys, changes, strict=True) if change is not None]
