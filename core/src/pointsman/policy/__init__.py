"""The built-in behaviour, each rule a plugin that can be configured, replaced, reordered and switched off."""

from collections.abc import Mapping
from types import MappingProxyType

from .fallback import Fallback
from .rollout import Rollout
from .tasks import Tasks

BUILT_IN: Mapping[str, type] = MappingProxyType({"tasks": Tasks, "rollout": Rollout, "fallback": Fallback})
"""By name, in the default order."""
