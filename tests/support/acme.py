"""Plugins of an imaginary distribution, for configurations to name."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from attrs import define, field

from pointsman.chat import Completion
from pointsman.hookspecs import BackendInvocation, MetricEmission, hookimpl
from pointsman.settings import Seconds, Secret


@define(eq=False)
class Echo(BackendInvocation):
    """A backend with a setting of every kind."""

    base_url: str = "http://localhost"
    api_key: Secret | None = None
    timeout: Seconds = Seconds(5.0)
    retries: int = 0
    weight: float = 1.0
    loud: bool = False
    tags: list[str] = field(factory=list)
    region: Literal["eu", "us"] = "eu"
    headers: Mapping[str, str] = field(factory=dict)
    limit: int | str = 10
    cache: Path | None = None
    on_answer: Callable[[], None] | None = None

    @hookimpl
    async def complete(self, target, request, ctx):
        return Completion(text=str(request.messages[-1]["content"]), finish_reason="stop")


@define(eq=False)
class Quiet(MetricEmission):
    """A sink that keeps everything to itself."""

    @hookimpl
    def emit_metric(self, event): ...
