"""The guide is true: its plugins load, its programs run, and print what the guide says they print."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pointsman.testing import Hang, Reply, ScriptedServer, openrouter_answer, openrouter_usage
from tests.examples import guide
from tests.support.command import run
from tests.support.site import Site

SDK = Path(__file__).with_name("sdk")
SECTIONS = guide.sections()
TEXT = "På fredag."


@pytest.fixture
def openrouter() -> Iterator[ScriptedServer]:
    usage = openrouter_usage(TEXT, cost=0.002)
    with ScriptedServer(lambda request: openrouter_answer(str(request.model), TEXT, usage=usage)) as server:
        yield server


@pytest.fixture
def acme() -> Iterator[ScriptedServer]:
    """Answers once, and is silent after that."""
    with ScriptedServer([Reply(200, {"text": TEXT, "tokens": {"in": 12, "out": 9}}), Hang()]) as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the guide's distribution is installed."""
    (tmp_path / "site").mkdir()
    site = Site(tmp_path / "site")
    site.install("acme-pointsman", offers=guide.offers(), modules={guide.MODULE: guide.module()})
    return tmp_path


def configured(text: str, openrouter: ScriptedServer, acme: ScriptedServer) -> str:
    table = "[plugins.openrouter_direct]\n"
    assert text.count(table) == 1
    text = text.replace(table, f'{table}base_url = "{openrouter.url}/api/v1"\n')
    return text.replace("http://localhost:8080", acme.url)


@pytest.mark.parametrize("section", SECTIONS, ids=[section.title for section in SECTIONS])
def test_each_section_shows_what_its_program_prints(
    section: guide.Section, folder: Path, openrouter: ScriptedServer, acme: ScriptedServer
) -> None:
    text = configured(guide.configuration() + section.table, openrouter, acme)
    (folder / "pointsman.toml").write_text(text, "utf-8")
    path = os.pathsep.join([str(folder / "site"), str(SDK)])
    keys = {"OPENROUTER_API_KEY": "sk-1111", "ACME_API_KEY": "sk-2222", "PYTHONPATH": path}
    ran = run("-c", section.program, cwd=folder, variables=keys)
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == section.screen


def test_every_class_is_offered_and_every_offer_is_a_class() -> None:
    classes = re.findall(r"^class (\w+)\(", guide.module(), re.MULTILINE)
    assert list(guide.offers().values()) == [f"{guide.MODULE}:{name}" for name in classes]


def test_every_link_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", guide.GUIDE.read_text("utf-8"))
    assert [link for link in links if not (guide.GUIDE.parent / link).exists()] == []
