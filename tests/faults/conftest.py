"""A faulty backend before a good one, for every test of this folder."""

import gc
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from attrs import frozen

from pointsman.testing import ScriptedServer
from tests.faults.scene import Scene
from tests.support.wires import WITHIN, left_open, more_is_open


@frozen
class Standing:
    """What stays up for all tests, because it takes time to start."""

    faulty: ScriptedServer
    good: ScriptedServer
    ca: trustme.CA
    ca_file: Path


@pytest.fixture(scope="session")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    ca = trustme.CA()
    # One certificate instead of all the world's, which every router would read anew.
    ca_file = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(ca_file))
    with ScriptedServer() as faulty, ScriptedServer() as good:
        yield Standing(faulty, good, ca, ca_file)


@pytest.fixture
def scene(standing: Standing, caplog: pytest.LogCaptureFixture) -> Iterator[Scene]:
    """The scene, after which no thread, descriptor or connection is left."""
    before = left_open()
    yield Scene(faulty=standing.faulty, good=standing.good, ca=standing.ca, ca_file=standing.ca_file, log=caplog)
    for server in (standing.faulty, standing.good):
        assert server.wait_for(lambda server=server: server.connected == 0, WITHIN)
    ends = time.monotonic() + WITHIN
    while more_is_open(before) and time.monotonic() < ends:
        # The servers' side of a connection is closed in threads of their own.
        time.sleep(0.005)
        gc.collect()
    assert not more_is_open(before)
