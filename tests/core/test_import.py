"""Importing pointsman costs next to nothing and touches nothing."""

import ast
import json
import statistics
import sys
from pathlib import Path

import pytest

import pointsman
from tests.core.support import ROOT, python

CORE = ROOT / "core" / "src" / "pointsman"
EXTRAS = {"cli": {"click", "rich", "tomlkit"}, "testing": set()}
"""Packages inside the distribution that may import more, because nothing of the core imports them."""

MOST = 0.015
"""Seconds that `import pointsman` may take beyond what it needs."""

ROUNDS = 7


def programs_words(source):
    """What a program of its own prints as JSON."""
    done = python(source)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_importing_takes_at_most_15_ms_beyond_what_it_needs():
    source = """
import asyncio, attrs, cattrs, pluggy, time
began = time.perf_counter()
import pointsman
print(time.perf_counter() - began)
"""
    assert statistics.median(programs_words(source) for _ in range(ROUNDS)) < MOST


def test_neither_importing_nor_building_a_router_loads_an_http_library():
    loaded = programs_words("""
import json, sys
import pointsman
from pointsman import *
from tests.core.support import table
Router(table()).close()
print(json.dumps(sorted(sys.modules)))
""")
    http = {"httpx", "httpcore", "aiohttp", "requests", "urllib3", "http.client", "urllib.request", "litellm", "openai"}
    assert not http.intersection(loaded)
    assert not {"click", "rich", "tomlkit"}.intersection(loaded)
    assert not [name for name in loaded if name.startswith("pointsman.testing")]


def test_importing_opens_nothing_starts_nothing_reads_no_environment_and_configures_no_logging():
    seen = programs_words("""
import asyncio, attrs, cattrs, hashlib, json, logging, os, pluggy, random, sys, threading, tomllib, warnings

handlers, level = list(logging.root.handlers), logging.root.level
events, read = [], []

class Watched(dict):
    def __getitem__(self, key):
        read.append(key)
        return super().__getitem__(key)
    def get(self, key, default=None):
        read.append(key)
        return super().get(key, default)
    def __contains__(self, key):
        read.append(key)
        return super().__contains__(key)

def hook(event, arguments):
    modules = {"socket", "subprocess", "os", "shutil", "urllib"}
    if event.split(".")[0] in modules and event not in {"os.listdir", "os.scandir"}:
        events.append(event)
    if event == "open" and not str(arguments[0]).endswith((".py", ".pyc", ".so")):
        events.append(f"open {arguments[0]}")

os.environ = Watched(os.environ)
sys.addaudithook(hook)
import pointsman
from pointsman import *
events, read = list(events), list(read)
print(json.dumps({
    "events": events,
    "read": read,
    "threads": threading.active_count(),
    "logging": [logging.root.handlers == handlers, logging.root.level == level],
    "loggers": {name: [len(logger.handlers), logger.level, logger.propagate]
                for name, logger in logging.root.manager.loggerDict.items()
                if name.startswith("pointsman") and isinstance(logger, logging.Logger)},
}))
""")
    assert seen["events"] == []
    assert seen["read"] == []
    assert seen["threads"] == 1
    assert seen["logging"] == [True, True]
    assert set(map(tuple, seen["loggers"].values())) == {(0, 0, True)}


def test_every_public_name_is_there_and_in_its_place():
    assert pointsman.__all__ == sorted(set(pointsman.__all__))
    for name in pointsman.__all__:
        assert getattr(pointsman, name) is not None
        assert not name.startswith("_")
    assert set(dir(pointsman)) == set(pointsman.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'pointsman' has no attribute 'Rooter'"):
        pointsman.Rooter  # noqa: B018


def test_a_name_is_the_same_object_from_wherever_it_comes():
    again = programs_words("""
import json
import pointsman
from pointsman import Router, hookimpl
from pointsman.router import Router as same
from pointsman.hookspecs import hookimpl as same_too
print(json.dumps([Router is same is pointsman.Router, hookimpl is same_too]))
""")
    assert again == [True, True]


def imported_by(path):
    """Every top-level package that a file imports by an absolute name, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]


def sources():
    return sorted(CORE.rglob("*.py"))


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(CORE)))
def test_the_core_imports_only_pluggy_attrs_cattrs_and_the_standard_library(path: Path):
    first = path.relative_to(CORE).parts[0]
    allowed = {"pluggy", "attrs", "cattrs", "pointsman"} | EXTRAS.get(first, set())
    assert set(imported_by(path)) - sys.stdlib_module_names <= allowed


def test_nothing_of_the_core_imports_its_extras():
    for path in sources():
        if path.relative_to(CORE).parts[0] in EXTRAS or path.name == "__main__.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert not {(node.module or "").partition(".")[0], *(a.name for a in node.names)} & set(EXTRAS)
