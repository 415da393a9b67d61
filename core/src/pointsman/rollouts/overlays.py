"""What is said of rollouts in code, laid over what the configuration says.

The last word holds: what is said here is dropped as soon as the configuration says something else of that rollout
than it did then, and by `forget`. So the off switch in the file always works.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from attrs import evolve, frozen

from ..config import DEFAULT_ROLLOUT, Config, RolloutSettings


@frozen
class _Said:
    over: RolloutSettings
    """What the configuration said then."""
    changes: Mapping[str, Any]


@frozen
class Overlays:
    """By the rollout's name. A value: each change makes another one."""

    said: Mapping[str, _Said] = MappingProxyType({})

    def say(self, config: Config, name: str, changes: Mapping[str, Any]) -> "Overlays":
        """With these settings of one rollout, beside those that were said before. Shares are laid over shares."""
        over = config.all_rollouts[name]
        earlier: Mapping[str, Any] = self.said[name].changes if name in self.said else {}
        if "shares" in changes:
            shares = {**earlier.get("shares", over.shares), **changes["shares"]}
            changes = {**changes, "shares": MappingProxyType(shares)}
        return Overlays({**self.said, name: _Said(over, {**earlier, **changes})})

    def forget(self, name: str) -> "Overlays":
        """Without what was said of one rollout."""
        return Overlays({other: said for other, said in self.said.items() if other != name})

    def still_fitting(self, config: Config) -> "Overlays":
        """What is left under a configuration that may be another one."""
        now = config.all_rollouts
        return Overlays({name: said for name, said in self.said.items() if now.get(name) == said.over})

    def over(self, config: Config) -> Config:
        """The configuration with what was said."""
        if not self.said:
            return config
        changed = {name: evolve(said.over, **said.changes) for name, said in self.said.items()}
        unnamed = changed.pop(DEFAULT_ROLLOUT, config.rollout)
        return evolve(config, rollout=unnamed, rollouts={**config.rollouts, **changed})
