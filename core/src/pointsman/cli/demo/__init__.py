"""`pointsman demo`: a morning's work through both backends, offline and without a key."""

import tomllib
from importlib.resources import files
from typing import Any

from pointsman.chat import Completion
from pointsman.cli.output import print_json, wrong_use
from pointsman.errors import RouteError
from pointsman.plugins import installed
from pointsman.router import Router
from pointsman.settings import Secret
from pointsman.testing import ScriptedServer

from .report import document
from .show import Show
from .standins import OpenRouterStandIn, ProxyStandIn, strike
from .watcher import Watcher
from .workload import jobs

DEADLINE = 3.0
"""Seconds for one call of the demo at pace 1, so that a hanging proxy is seen through in the time of a show."""


def run(*, share: float, proxy: str, pace: float, as_json: bool) -> None:
    """Makes the twelve calls, shows them as they go, and what came of them."""
    missing = {"litellm_backend", "openrouter_direct"} - installed().keys()
    if missing:
        packages = " ".join(f"pointsman-{name.replace('_', '-')}" for name in sorted(missing))
        wrong_use(f"the demo needs more plugins; install them with: pip install {packages}")
    work = jobs()
    answers = {job.prompt: job.answer for job in work}
    openrouter = OpenRouterStandIn(answers.__getitem__, pace)
    stand_in = ProxyStandIn(openrouter, proxy)
    watcher = Watcher()
    show = Show(quiet=as_json)
    with (
        ScriptedServer(openrouter.direct) as openrouter_server,
        ScriptedServer(stand_in.answer) as proxy_server,
        Router(configuration(proxy_server.url, openrouter_server.url, share, pace, watcher)) as router,
    ):
        show.opening(share, proxy)
        results: list[Completion | RouteError] = []
        for number, job in enumerate(work, start=1):
            if number == len(work) // 2 + 1:
                strike(stand_in, proxy_server, proxy)
            show.calling(number, len(work), job)
            try:
                result = router.complete(job.prompt, task=job.task, unit=job.unit)
            except RouteError as error:
                result = error
            results.append(result)
            show.called(job, result)
        router.flush()
        reports = router.sink_reports()
    if as_json:
        print_json(document(work, results, watcher.events, reports))
    else:
        show.closing(work, results, watcher.events, reports)
    if any(isinstance(result, RouteError) for result in results):
        raise SystemExit(1)


def configuration(proxy_url: str, openrouter_url: str, share: float, pace: float, watcher: Watcher) -> dict[str, Any]:
    """The Friday configuration, pointed at the stand-ins and with the demo's own sink in place of stdout's."""
    table: dict[str, Any] = tomllib.loads(files(__name__).joinpath("friday.toml").read_text(encoding="utf-8"))
    key = Secret("sk-demo", "the demo's own")
    table["router"]["deadline"] = DEADLINE * max(pace, 0.5)
    table["plugins"] = {
        "litellm_backend": {"base_url": proxy_url, "api_key": key},
        "openrouter_direct": {"base_url": f"{openrouter_url}/api/v1", "api_key": key},
        "watcher": watcher,
    }
    table["rollout"]["shares"] = {"proxied": share}
    return table
