"""Types for settings that say more than a plain value: `Secret`, `Seconds`, `Share`, `Switch` and `UnitName`."""

from typing import Annotated, Any, NewType, NoReturn

Seconds = NewType("Seconds", float)
"""A duration. In TOML a number of seconds, or text with a unit: `"500ms"`, `"60s"`, `"2m"`, `"1h"`, `"30d"`."""

Share = Annotated[float, "per cent of units"]
"""Per cent of units. In TOML a number, or where one stands: `{ env = "PROXIED_PERCENT", default = 10 }`."""

Switch = Annotated[bool, "on or off"]
"""In TOML true or false, or where one of them stands: `{ env = "ROLLOUT_OFF", default = false }`."""

UnitName = Annotated[str, "a unit"]
"""A unit, as text. In TOML text or a whole number."""


class Secret:
    """A value that no repr, log, comparison message or pickle shows.

    In TOML it names where the value is: `{ env = "OPENROUTER_API_KEY" }` or
    `{ file = "/run/secrets/key" }`. From Python, `Secret("...")` holds it.
    """

    __slots__ = ("_value", "origin")

    def __init__(self, value: str, origin: str = "given in code") -> None:
        self._value = value
        self.origin = origin
        """Where the value came from, for people: `environment variable X`."""

    def reveal(self) -> str:
        """The value itself. Call this where it is sent, and nowhere else."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret(<{self.origin}>)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is never pickled: build the router again on the other side, from its configuration")

    def __copy__(self) -> "Secret":
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> "Secret":
        return self
