"""Plugins of one's own, built and installed by pip as a third party's, are found by their entry points."""

import json
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.examples import guide
from tests.examples.clean_environment import CleanEnvironment

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.index,
    pytest.mark.xdist_group("clean_environment"),
    pytest.mark.timeout(120),
    pytest.mark.skipif(sys.platform == "win32", reason="the environment's Python is elsewhere there"),
]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> CleanEnvironment:
    """The core, both example distributions and the guide's, each from its folder."""
    written = tmp_path_factory.mktemp("guide")
    (written / "pyproject.toml").write_text(guide.project(), "utf-8")
    (written / f"{guide.MODULE}.py").write_text(guide.module(), "utf-8")
    examples = [ROOT / "examples" / name for name in ("statsd_sink", "policies")]
    return CleanEnvironment.make(tmp_path_factory.mktemp("clean") / "environment", ROOT / "core", *examples, written)


@contextmanager
def listening() -> Iterator[socket.socket]:
    """A UDP port on loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiving:
        receiving.bind(("127.0.0.1", 0))
        receiving.settimeout(5)
        yield receiving


PROGRAM = """
from attrs import define
from pointsman import BackendInvocation, Completion, Router, hookimpl

@define(eq=False)
class Echo(BackendInvocation):
    @hookimpl
    async def complete(self, target, request, ctx):
        return Completion.of_text(request.messages[0]["content"])

with Router({
    "plugins": {"echo": Echo(), "statsd": {"port": %d}},
    "models": {"glm-4.5-air": {"on": {"echo": "glm"}}},
    "tasks": {"chat": {"models": ["glm-4.5-air"]}},
}) as router:
    print(router.complete("Hej", task="chat").text)
"""


def test_the_sink_is_found_and_its_packets_arrive(installed: CleanEnvironment) -> None:
    with listening() as receiving:
        ran = installed.run("-c", PROGRAM % receiving.getsockname()[1])
        assert (ran.status, ran.out, ran.err) == (0, "Hej\n", "")
        packets = [receiving.recv(1500).decode() for _ in range(2)]
    names = [packet.rpartition(":")[0] for packet in packets]
    assert names == ["llm.attempt.echo.glm-4_5-air.answered", "llm.request.chat.answered"]
    assert all(packet.endswith("|ms") for packet in packets)


EVERY_PLUGIN = """
import json
from pointsman.plugins import installed
print(json.dumps({name: str(entry[0].value) for name, entry in installed().items()}))
"""


def test_every_plugin_of_the_three_is_offered_and_no_other(installed: CleanEnvironment) -> None:
    assert json.loads(installed.run("-c", EVERY_PLUGIN).out) == {
        "statsd": "pointsman_statsd:Statsd",
        "tenant_pin": "acme_policies:TenantPin",
        "cheapest": "acme_policies:Cheapest",
        "bill_once": "acme_policies:BillOnce",
        **guide.offers(),
    }


def test_the_environment_has_nothing_of_the_one_that_the_tests_run_in(installed: CleanEnvironment) -> None:
    names = {one["name"] for one in json.loads(installed.pip("list", "--format=json").out)}
    ours = {"pointsman", "pointsman-statsd", "acme-policies", "acme-pointsman"}
    assert names - {"pip", "setuptools"} == ours | {"attrs", "cattrs", "pluggy", "typing_extensions"}
