"""Fixtures that several test modules share: scripted servers and the real LiteLLM proxy."""

import contextlib
import gc
import importlib.metadata
import os
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from pointsman.testing import ScriptedServer
from tests.support.litellm_proxy import LiteLLMProxy, is_installed
from tests.support.reference import LITELLM_MODELS, PINGING

# How long an example takes depends on how busy the machine is. Each run draws examples of its own, so that fewer in one
# find as much in several.
settings.register_profile("pointsman", deadline=None, max_examples=50)
settings.load_profile("pointsman")


# First: pytest-xdist looks at the groups in the same hook.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    skip = not is_installed() and "POINTSMAN_REQUIRE_LITELLM" not in os.environ
    for item in items:
        if item.get_closest_marker("litellm"):
            # The first of them waits for the proxy to start; all of them share it, so they run in one process.
            item.add_marker(pytest.mark.timeout(120))
            item.add_marker(pytest.mark.xdist_group("litellm"))
            if skip:
                item.add_marker(
                    pytest.mark.skip(reason="no LiteLLM in .venv-litellm; `python3 dev.py test` installs it")
                )


def pytest_collection_finish() -> None:
    # What is there now stays. Tests that collect garbage to see what is left need not look through all of it again.
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


@pytest.fixture(scope="session", autouse=True)
def distributions() -> Iterator[None]:
    """What is installed is looked through once for each state of Python's path, and not by every router."""
    real = importlib.metadata.entry_points
    look = cache(lambda group, _path: real(group=group))

    def entry_points(*, group: str) -> importlib.metadata.EntryPoints:
        folders = filter(Path.is_dir, map(Path, sys.path))
        return look(group, tuple((folder, folder.stat().st_mtime_ns) for folder in folders))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.metadata, "entry_points", entry_points)
        yield


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A running scripted server; `server.play(script)` tells it what to answer."""
    with ScriptedServer() as server:
        yield server


@pytest.fixture(scope="session")
def shared_litellm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiteLLMProxy]:
    """One proxy for the whole run, because it takes seconds to start. Tests use `litellm`."""
    with (
        ScriptedServer() as upstream,
        LiteLLMProxy(LITELLM_MODELS, upstream, tmp_path_factory.mktemp("litellm"), keepalive={PINGING: 0.1}) as proxy,
    ):
        yield proxy


@pytest.fixture
def litellm(shared_litellm: LiteLLMProxy) -> Iterator[LiteLLMProxy]:
    """The real proxy; `litellm.upstream.play(script)` tells the OpenRouter behind it what to answer."""
    shared_litellm.upstream.play(())
    yield shared_litellm
    try:
        shared_litellm.check()
    except RuntimeError:
        shared_litellm.start()  # for the tests after the one that it died in
        raise
    shared_litellm.upstream.check()


@pytest.fixture
def start_litellm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., LiteLLMProxy]]:
    """Starts a proxy of the test's own, to kill or to configure: `start_litellm(fallbacks={...})`."""
    with contextlib.ExitStack() as stack:

        def start(**settings: Any) -> LiteLLMProxy:
            upstream = stack.enter_context(ScriptedServer())
            proxy = LiteLLMProxy(LITELLM_MODELS, upstream, tmp_path_factory.mktemp("litellm"), **settings)
            return stack.enter_context(proxy)

        yield start
