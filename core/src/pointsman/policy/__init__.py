"""The built-in behaviour, each rule a plugin that can be configured, replaced, reordered and switched off."""

from collections.abc import Mapping
from types import MappingProxyType

from .breaker import Breaker
from .fallback import Fallback
from .guard import Guard
from .limits import Limits
from .retries import Retries
from .rollout import Rollout
from .tasks import Tasks

BUILT_IN: Mapping[str, type] = MappingProxyType(
    {
        "tasks": Tasks,
        "guard": Guard,
        "rollout": Rollout,
        "limits": Limits,
        "breaker": Breaker,
        "fallback": Fallback,
        "retries": Retries,
    }
)
"""By name, in the default order."""

ON_DEMAND = frozenset({"guard", "limits"})
"""Those that are active when the configuration names them, like others' plugins."""
