"""A folder that plugins are installed into, as an installer leaves them: metadata, entry points, modules."""

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from attrs import define

from pointsman.plugins import GROUP


@define
class Site:
    """A folder on the path of Python."""

    folder: Path

    @classmethod
    def on_path(cls, folder: Path, monkeypatch: pytest.MonkeyPatch) -> "Site":
        folder.mkdir(parents=True, exist_ok=True)
        monkeypatch.syspath_prepend(folder)
        return cls(folder)

    def install(
        self,
        distribution: str,
        version: str = "1.0",
        *,
        offers: Mapping[str, str | type],
        modules: Mapping[str, str] | None = None,
    ) -> None:
        """Install a distribution that offers plugins, by name: a class, or where one is (`module:Class`)."""
        for module, source in (modules or {}).items():
            assert module not in sys.modules, f"{module} is loaded already; a test's module has a name of its own"
            (self.folder / f"{module}.py").write_text(source, "utf-8")
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n", "utf-8")
        lines = [f"[{GROUP}]", *(f"{name} = {_where(plugin)}" for name, plugin in offers.items())]
        (info / "entry_points.txt").write_text("\n".join(lines), "utf-8")
        (info / "RECORD").write_text("", "utf-8")
        importlib.invalidate_caches()


def _where(plugin: str | type) -> str:
    return plugin if isinstance(plugin, str) else f"{plugin.__module__}:{plugin.__qualname__}"
