"""For plugin authors and users: a scripted server, answers as OpenRouter and LiteLLM give them, a simulation."""

from .behaviours import Answers, Breaks, Fails, Hangs, Outages, Recorded, SimulatedAttempt
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
from .simulation import Result, Simulation
from .virtual_time import SimulatedCall

__all__ = [
    "SSE",
    "Answer",
    "Answers",
    "Breaks",
    "Drop",
    "Fails",
    "Hang",
    "Hangs",
    "Outages",
    "RawBytes",
    "ReceivedRequest",
    "Recorded",
    "Reply",
    "Result",
    "Script",
    "ScriptError",
    "ScriptedServer",
    "SimulatedAttempt",
    "SimulatedCall",
    "Simulation",
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
