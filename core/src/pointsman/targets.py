"""A target is a model on a backend. A catalog knows all of them, by task and by path."""

from collections.abc import Mapping

from attrs import field, frozen


@frozen(kw_only=True, cache_hash=True)
class Target:
    """One model on one backend: what an attempt is addressed to."""

    model: str
    """The short name from `[models]`."""
    backend: str
    """The name of the plugin that reaches it."""
    name: str
    """What that backend calls the model: the `model` on the wire."""
    context: int | None = field(default=None, eq=False)
    """Context window in tokens, or None where the configuration does not say."""
    quota: str | None = None
    """The allowance that this target draws on, by name; None is the backend's own account."""

    @property
    def allowance(self) -> str:
        """What this target draws on: its quota, or else the backend's own account."""
        return self.quota or f"account of {self.backend}"

    def __str__(self) -> str:
        return f"{self.backend}/{self.model}"


@frozen
class Catalog:
    """Every configured target, and each task's share of them in the task's order."""

    targets: tuple[Target, ...]
    by_task: Mapping[str, tuple[Target, ...]]
    by_model: Mapping[str, tuple[Target, ...]]
