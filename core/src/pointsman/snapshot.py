"""One configuration, checked whole and ready to route by. Every request keeps the one it started with."""

from attrs import frozen

from .config import Config
from .hooks import Hooks
from .plugins import Plugin
from .targets import Catalog


@frozen(eq=False, kw_only=True)
class Snapshot:
    """A configuration with the plugins, hooks and targets that it makes."""

    config: Config
    plugins: tuple[Plugin, ...]
    hooks: Hooks
    catalog: Catalog
