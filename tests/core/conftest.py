"""Fixtures for what is installed, and for what is reported."""

from pathlib import Path

import pytest

from tests.support.acme import Echo, Quiet
from tests.support.reports import Reporter
from tests.support.site import Site


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A folder of installed plugins: `acme-plugins` with `echo` and `quiet`, and what the test adds."""
    site = Site.on_path(tmp_path / "site", monkeypatch)
    site.install("acme-plugins", "2.1", offers={"echo": Echo, "quiet": Quiet})
    return site


@pytest.fixture
def report(tmp_path: Path, site: Site) -> Reporter:
    """Says what is wrong with a document: `assert report("[rotuer]") == ...`."""
    return Reporter(tmp_path)
