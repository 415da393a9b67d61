"""A configuration can be looked at without its keys: they are neither needed nor read."""

from pathlib import Path

import pytest

from pointsman import ConfigError, Router
from pointsman.loading import from_toml
from tests.support.site import Site

CONFIG = """\
[plugins.echo]
api_key = { env = "ACME_KEY" }
[models.m]
on = { echo = "wire/m" }
"""


@pytest.fixture
def file(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("ACME_KEY", raising=False)
    file = tmp_path / "pointsman.toml"
    file.write_text(CONFIG, "utf-8")
    return file


def api_key(file: Path):
    (echo,) = [one.instance for one in from_toml(file, read_secrets=False).plugins if one.name == "echo"]
    return echo.api_key  # pyright: ignore[reportAttributeAccessIssue] - of the imaginary plugin


def test_a_decision_is_explained_without_a_key(file: Path) -> None:
    with pytest.raises(ConfigError, match="ACME_KEY is not set"):
        from_toml(file)
    with Router(from_toml(file, read_secrets=False)) as router:
        assert router.explain().candidates[0].name == "wire/m"


def test_a_secret_knows_where_it_would_be_read_and_not_what_is_there(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_KEY", "sk-canary")
    assert api_key(file).origin == "environment variable ACME_KEY"
    assert api_key(file).reveal() == "not-read"


def test_neither_a_key_in_the_place_of_its_name_nor_a_file_is_told(file: Path) -> None:
    file.write_text(CONFIG.replace("ACME_KEY", "sk-canary"), "utf-8")
    assert api_key(file).origin == "the variable named here"
    file.write_text(CONFIG.replace('env = "ACME_KEY"', 'file = "sk-canary"'), "utf-8")
    assert api_key(file).origin == "a file"


def test_what_is_wrong_with_a_secret_is_still_told(file: Path) -> None:
    file.write_text(CONFIG.replace('{ env = "ACME_KEY" }', '"sk-canary"'), "utf-8")
    with pytest.raises(ConfigError, match="a key is never written into a configuration"):
        from_toml(file, read_secrets=False)
