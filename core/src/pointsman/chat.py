"""What goes to a model and what comes back: `Request`, `Completion`, `Chunk`, `Usage`.

Names follow OpenAI's chat completions where callers already know them, and
OpenTelemetry's GenAI conventions for token counts.
"""

from collections.abc import Iterator, Mapping, Sequence
from json import loads
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from attrs import field, frozen

if TYPE_CHECKING:
    from .decision import Decision

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"
"""A value that `json.dumps` accepts."""

Message: TypeAlias = Mapping[str, JSON]
"""One OpenAI-style message: `{"role": "user", "content": "..."}`."""

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter"]
"""Why a model stopped. Any other word of a server is kept as it came."""


class _Nothing(Mapping[str, JSON]):
    """Unlike a `MappingProxyType` it pickles, as every answer and every error does."""

    def __getitem__(self, key: str) -> JSON:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "{}"

    def __reduce__(self) -> str:
        return "NOTHING"


NOTHING: Mapping[str, JSON] = _Nothing()
"""An empty mapping that nobody can fill."""


@frozen
class Request:
    """One chat request, as every hook sees it. Nobody may change it.

    Messages and parameter values stay out of the repr: they are the user's content.
    """

    messages: tuple[Message, ...] = field(repr=False)
    task: str
    unit: str | int | None = None
    """Who is assigned by a rollout: a user id, a tenant, any string or integer."""
    model: str | None = None
    """A short name from `[models]` that the caller forces, or None."""
    stream: bool = False
    parameters: Mapping[str, JSON] = field(default=NOTHING, repr=False)
    """OpenAI's parameters by their own names, and whatever a provider adds."""
    extra_body: Mapping[str, JSON] = field(default=NOTHING, repr=False)
    """Fields laid over the finished body last, whatever they are called."""
    labels: Mapping[str, str] = field(default=MappingProxyType({}))
    """Words for metrics. They reach every event and never a backend."""


@frozen(kw_only=True)
class Usage:
    """What one answer consumed. Unknown is None, never 0."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    cost: float | None = None
    """US dollars."""
    cost_source: str | None = None
    """Where `cost` was read: `usage.cost`, or the name of a response header."""


@frozen(kw_only=True)
class ToolCall:
    """One function that the model asks for."""

    id: str | None
    name: str
    arguments: str = field(repr=False)
    """JSON text exactly as the model wrote it."""
    cut: bool = False
    """Whether the answer ended before the first argument: a function without any has empty `arguments` too."""

    @property
    def is_finished(self) -> bool:
        """Whether the arguments are whole: a model that ran into its limit leaves them cut."""
        try:
            loads(self.arguments or "{}")
        except (ValueError, RecursionError):
            return False
        return not self.cut


@frozen(kw_only=True, slots=False)
class Completion:
    """One whole answer. `decision` says how it came about.

    Text, reasoning, refusal, tool arguments and the raw body stay out of the repr.
    """

    text: str = field(repr=False)
    finish_reason: str
    """A `FinishReason`, or the server's own word where it is none of them."""
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str = field(default="", repr=False)
    refusal: str | None = field(default=None, repr=False)
    images: tuple[JSON, ...] = field(default=(), repr=False)
    """What the model drew or spoke, as the server gave it."""
    usage: Usage = Usage()
    id: str | None = None
    """The server's id for this answer: an OpenRouter generation, a chat completion."""
    call_id: str | None = None
    """A gateway's id for the call, where it has one of its own (`x-litellm-call-id`)."""
    served_model: str | None = None
    """The model name in the answer. Servers resolve aliases, so it may differ from the one asked for."""
    provider: str | None = None
    """Who ran the model behind the backend, where the backend says so."""
    inner: "InnerAttempts | None" = None
    message: Message = field(default=NOTHING, repr=False)
    """The assistant message as it came, ready to be appended to the messages of a tool loop."""
    raw: Mapping[str, JSON] = field(default=NOTHING, repr=False)
    """The whole body as it came."""
    decision: "Decision | None" = None
    """The record of the request; set by the router, None in a backend's hands."""

    @classmethod
    def of_text(cls, text: str) -> "Completion":
        """An answer that is nothing but text."""
        return cls(text=text, finish_reason="stop", message=MappingProxyType({"role": "assistant", "content": text}))

    def with_decision(self, decision: "Decision") -> "Completion":
        """The same answer with the record of how it came about."""
        answer = object.__new__(Completion)  # attrs.evolve takes far longer, on every request
        said = vars(answer)
        said.update(vars(self))
        said["decision"] = decision
        return answer


@frozen(kw_only=True)
class InnerAttempts:
    """What a gateway reports of its own retries and fallbacks inside one attempt.

    Recorded, never budgeted: the router did not decide them.
    """

    retries: int | None = None
    fallbacks: int | None = None
    model_group: str | None = None


@frozen(kw_only=True, slots=False)
class Chunk:
    """One piece of a streamed answer. Concatenated `text` is the answer's text."""

    text: str = field(default="", repr=False)
    reasoning: str = field(default="", repr=False)
    refusal: str = field(default="", repr=False)
    tool_calls: tuple["ToolCallDelta", ...] = ()
    images: tuple[JSON, ...] = field(default=(), repr=False)
    reasoning_details: tuple[JSON, ...] = field(default=(), repr=False)
    """OpenRouter's reasoning blocks, to be sent back in a tool loop."""
    audio: Mapping[str, JSON] = field(default=NOTHING, repr=False)
    """A piece of what the model speaks; pieces of its `data` and of its `transcript` are concatenated."""
    annotations: tuple[JSON, ...] = field(default=(), repr=False)
    """What the server notes about the answer, such as sources."""
    finish_reason: str | None = None
    usage: Usage | None = None
    id: str | None = None
    call_id: str | None = None
    served_model: str | None = None
    provider: str | None = None
    inner: InnerAttempts | None = None
    raw: Mapping[str, JSON] = field(default=NOTHING, repr=False)
    """The event's JSON as it came."""

    @property
    def has_content(self) -> bool:
        """Whether the reader is shown something by it, so that nothing can restart."""
        if self.text or self.reasoning or self.refusal or self.tool_calls or self.images:
            return True
        return bool(self.audio and (self.audio.get("data") or self.audio.get("transcript")))

    @property
    def has_notes(self) -> bool:
        """Whether it brings something that is no content and is handed on all the same."""
        return bool(self.reasoning_details or self.annotations or self.audio)


# Here once, for 3.11 looks a method of a class up at every call.
_new, _set = object.__new__, object.__setattr__


def chunk_of_fields(fields: dict[str, Any]) -> Chunk:
    """The chunk with these fields: all that there are, and its own from now on. `Chunk(...)` takes far longer."""
    chunk = _new(Chunk)
    _set(chunk, "__dict__", fields)
    return chunk


@frozen(kw_only=True)
class ToolCallDelta:
    """A piece of one tool call; pieces with one `index` belong together."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = field(default="", repr=False)
