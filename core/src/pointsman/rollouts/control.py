"""`router.rollout`: the rollouts of a running router, looked at and changed from code."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..complaints import dotted, suggest
from ..config import DEFAULT_ROLLOUT, RolloutSettings
from ..errors import ConfigError, Problem, UsageError
from ..outside import described
from ..policy.guard import Guard
from ..policy.halts import Halt

if TYPE_CHECKING:
    from ..engine import Engine


class RolloutControl:
    """Changes rollouts for the requests that begin from now on, in this process.

    What is said here is laid over the configuration until the file says something else of that rollout, or `reset`.
    `name` is that of a `[rollouts.<name>]`; without one it is `[rollout]`. Every method raises `UsageError` for a name
    that does not exist, and `RouterClosed` after the close.
    """

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine

    def settings(self, name: str = DEFAULT_ROLLOUT) -> RolloutSettings:
        """What holds now."""
        return self._known(name)

    def set(self, shares: Mapping[str, float], name: str = DEFAULT_ROLLOUT) -> None:
        """Gives paths other shares, in per cent; those that are not named keep theirs.

        Raises `ConfigError` where they are no shares, add up to more than 100, or there is no such path.
        """
        self._known(name)
        place = ("rollout",) if name == DEFAULT_ROLLOUT else ("rollouts", name)
        problems = [
            Problem(key=dotted((*place, "shares", path)), message=f"expected a number, got {described(share)}")
            for path, share in shares.items()
            if isinstance(share, bool) or not isinstance(share, (int, float))  # pyright: ignore[reportUnnecessaryIsInstance] - callers without a type checker
        ]
        if problems:
            raise ConfigError(problems)
        self._engine.say_of_rollout(name, shares=shares)

    def off(self, name: str | None = None) -> None:
        """Sends everyone to the control path: of one rollout, or of all of them."""
        for one in self._names(name):
            self._engine.say_of_rollout(one, off=True)

    def on(self, name: str | None = None) -> None:
        """Lets the shares hold again, whoever had switched them off: of one rollout, or of all of them."""
        for one in self._names(name):
            self._engine.say_of_rollout(one, off=False)

    def reset(self, name: str | None = None) -> None:
        """Lets the configuration hold again, as if nothing had been said here: of one rollout, or of all of them."""
        for one in self._names(name):
            self._engine.forget_rollout(one)

    def halted(self) -> tuple[Halt, ...]:
        """The paths that a guard has halted, as far as this process knows."""
        return tuple(halt for guard in self._guards() for halt in guard.halted())

    def resume(self, name: str | None = None) -> tuple[Halt, ...]:
        """Lets units onto halted paths again: of one rollout, or of all of them. Returns what was halted.

        Raises `OSError` where the guard keeps a file that cannot be written.
        """
        if name is not None:
            self._known(name)
        return tuple(halt for guard in self._guards() for halt in guard.resume(name))

    def _guards(self) -> list[Guard]:
        found = [plugin.instance for plugin in self._engine.snapshot.plugins]
        return [one for one in found if isinstance(one, Guard)]

    def _names(self, name: str | None) -> tuple[str, ...]:
        if name is None:
            return tuple(self._engine.snapshot.config.all_rollouts)
        self._known(name)
        return (name,)

    def _known(self, name: str) -> RolloutSettings:
        rollouts = self._engine.snapshot.config.all_rollouts
        if name not in rollouts:
            what = (
                f"there is no rollout {name!r}; {suggest(name, tuple(rollouts))}" if rollouts else "there is no rollout"
            )
            raise UsageError(what)
        return rollouts[name]
