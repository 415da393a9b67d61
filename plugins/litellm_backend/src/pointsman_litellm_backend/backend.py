"""The plugin for the LiteLLM proxy."""

from collections.abc import Mapping
from typing import ClassVar

from attrs import define, field

from pointsman.chat import JSON, Chunk, Completion, Request
from pointsman.context import DecisionContext
from pointsman.hookspecs import ModelSelection, hookimpl
from pointsman.targets import Target
from pointsman.verdicts import Selection
from pointsman_openai_compatible import Diagnosis, OpenAICompatible, ServerError
from pointsman_openai_compatible.checks import checked_url
from pointsman_openai_compatible.request import chat_body

from . import dialect


@define(eq=False, kw_only=True)
class LiteLLMBackend(OpenAICompatible, ModelSelection):
    """A LiteLLM proxy. Its own retries and fallbacks are switched off, so that one loop decides."""

    base_url: str = field(default="http://localhost:4000", validator=checked_url)
    """The proxy's address, with or without `/v1`."""
    inner_fallbacks: bool = False
    """Let the proxy fall back to its own other models. It is then offered one target per request."""

    role_once: ClassVar[bool] = True

    name: str = field(default="litellm_backend", init=False)
    """This instance's name in the configuration."""

    @hookimpl
    async def start_backend(self, name: str) -> None:
        """Make this loop's transport."""
        self.name = name
        await super().start_backend(name)

    @hookimpl
    def select_model(
        self,
        request: Request,  # noqa: ARG002 - the rule is the same for every request
        candidates: tuple[Target, ...],
        ctx: DecisionContext,  # noqa: ARG002 - as above
    ) -> Selection | None:
        """With `inner_fallbacks`, only the first of the proxy's own targets; the proxy has the others itself."""
        own = [target for target in candidates if target.backend == self.name]
        if not self.inner_fallbacks or len(own) < 2:  # noqa: PLR2004 - one is what is kept
            return None
        kept = [target for target in candidates if target.backend != self.name or target is own[0]]
        return Selection(kept, why=f"{self.name} falls back by itself, so it is offered one target")

    def request_body(self, target: Target, request: Request) -> dict[str, JSON]:
        """The body with the proxy's own retries switched off, and its fallbacks too unless they are wanted.

        The router is the only retry loop, so these lie over the request's parameters; only `extra_body` lies over them.
        """
        switches: dict[str, object] = {"num_retries": 0}
        if not self.inner_fallbacks:
            switches["disable_fallbacks"] = True
        return chat_body(target, request, {**switches, **self.extra_body})

    def own_words(self, message: str) -> str:
        """The message without what the proxy says about its model groups."""
        return dialect.own_words(message)

    def relayed(self, error: ServerError) -> bool:
        """Whether the model behind the proxy failed, not the proxy."""
        return dialect.relayed(error)

    def diagnose(self, error: ServerError) -> Diagnosis:
        """What the error means, the proxy's own ways first."""
        return dialect.special(error) or super().diagnose(error)

    def with_headers(self, completion: Completion, headers: Mapping[str, str]) -> Completion:
        """The answer with the proxy's call id, cost and inner attempts."""
        return dialect.with_headers(completion, headers)

    def opening(self, headers: Mapping[str, str]) -> Chunk | None:
        """The proxy's call id and inner attempts, which the events do not have."""
        return dialect.opening(headers)
