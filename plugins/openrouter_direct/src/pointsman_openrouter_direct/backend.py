"""The plugin for OpenRouter's API."""

from collections.abc import Mapping

from attrs import define, evolve, field

from pointsman.chat import Chunk, Completion
from pointsman_openai_compatible import Diagnosis, OpenAICompatible, ServerError
from pointsman_openai_compatible.answer import generation_id
from pointsman_openai_compatible.checks import checked_text, checked_url

from . import dialect


@define(eq=False, kw_only=True)
class OpenRouterDirect(OpenAICompatible):
    """OpenRouter, without anything in between."""

    base_url: str = field(default="https://openrouter.ai/api/v1", validator=checked_url)
    """The address up to the version."""
    app_url: str | None = field(default=None, validator=checked_text)
    """Your application's address, for OpenRouter's statistics. Without it requests are attributed to nobody."""
    app_title: str | None = field(default=None, validator=checked_text)
    """Your application's name beside it."""

    def request_headers(self) -> dict[str, str]:
        """The headers with the application's name and address."""
        about = {"http-referer": self.app_url, "x-openrouter-title": self.app_title}
        return {name: text for name, text in about.items() if text} | super().request_headers()

    def relayed(self, error: ServerError) -> bool:
        """Whether a provider failed, not OpenRouter."""
        return dialect.relayed(error)

    def diagnose(self, error: ServerError) -> Diagnosis:
        """What the error means, OpenRouter's own ways first."""
        return dialect.special(error) or super().diagnose(dialect.in_full(error))

    def retry_after(self, error: ServerError, found: Diagnosis) -> float | None:
        """Seconds to stay away; for a limit of OpenRouter's own, until it resets."""
        seconds = super().retry_after(error, found)
        if seconds is None and found.kind == "rate_limit" and found.blames != "model":
            return dialect.until_limit_resets(error)
        return seconds

    def ping_path(self) -> str:
        """The key itself: the list of models is open to everybody."""
        return "/key"

    def pong(self, body: Mapping[str, object]) -> str:
        """That the key is good, and what is left of its limit."""
        return dialect.of_key(body)

    def with_headers(self, completion: Completion, headers: Mapping[str, str]) -> Completion:
        """The answer with its generation's id, where only a header has it."""
        return completion if completion.id else evolve(completion, id=generation_id(headers))

    def opening(self, headers: Mapping[str, str]) -> Chunk | None:
        """The generation's id, which is known by it before the first event."""
        found = generation_id(headers)
        return Chunk(id=found) if found else None
