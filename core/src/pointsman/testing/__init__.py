"""What plugin authors test with: a scripted server, and answers as OpenRouter and LiteLLM give them."""

from .litellm_proxy import (
    all_cooled,
    litellm_answer,
    litellm_error,
    litellm_stream,
    litellm_unknown_model,
    no_db_connection,
    relayed,
)
from .openrouter import (
    free_tier_rate_limit,
    openrouter_answer,
    openrouter_error,
    openrouter_stream,
    openrouter_usage,
    provider_rate_limit,
)
from .received import ReceivedRequest
from .replies import SSE, Answer, Drop, Hang, RawBytes, Reply
from .scripted_server import Script, ScriptedServer, ScriptError

__all__ = [
    "SSE",
    "Answer",
    "Drop",
    "Hang",
    "RawBytes",
    "ReceivedRequest",
    "Reply",
    "Script",
    "ScriptError",
    "ScriptedServer",
    "all_cooled",
    "free_tier_rate_limit",
    "litellm_answer",
    "litellm_error",
    "litellm_stream",
    "litellm_unknown_model",
    "no_db_connection",
    "openrouter_answer",
    "openrouter_error",
    "openrouter_stream",
    "openrouter_usage",
    "provider_rate_limit",
    "relayed",
]
