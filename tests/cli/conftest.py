"""The command, called inside of this process in a folder with a configuration."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from click.testing import CliRunner, Result

from pointsman.cli import settings
from pointsman.cli.app import app
from tests.support.acme import Echo, Quiet
from tests.support.site import Site


@frozen
class Desk:
    """A folder with a configuration. The imaginary plugins `echo` and `quiet` are installed."""

    folder: Path
    site: Site

    def configure(self, text: str) -> None:
        (self.folder / "pointsman.toml").write_text(text, "utf-8")

    def run(self, *words: str, status: int = 0) -> Result:
        ran = CliRunner().invoke(app, list(words))
        assert ran.exit_code == status, ran.output
        assert "canary" not in ran.output, "a key was shown"
        return ran

    def document(self, *words: str, status: int = 0) -> Any:
        """What a command says with `--json`."""
        ran = self.run(*words, "--json", status=status)
        assert ran.stderr == ""
        return json.loads(ran.stdout)


@pytest.fixture(scope="session", autouse=True)
def sources() -> Iterator[None]:
    """What stands below the settings of a class is read in its source once, and not by every command."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "_docstrings", cache(settings._docstrings))
        yield


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    site = Site.on_path(tmp_path / "site", monkeypatch)
    site.install("acme-plugins", "2.1", offers={"echo": Echo, "quiet": Quiet})
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ACME_KEY", raising=False)
    desk = Desk(tmp_path, site)
    desk.configure(CONFIG)
    return desk


CONFIG = """\
[plugins.echo]
api_key = { env = "ACME_KEY" }

[plugins.second]
use = "echo"

[models.small]
on = { echo = "wire/small", second = "small" }

[models.large]
on = { echo = "wire/large" }

[tasks.chat]
models = ["large", "small"]
why = "the better one"

[paths]
both = ["echo", "second"]
one = ["second"]

[rollout]
control = "one"
shares = { both = 50 }

[router]
default_task = "chat"
"""
