"""Routes LLM calls inside Python programs: which model answers, through which backend, and what happens when it fails.

Every public name is here. Each is loaded when it is first asked for, so that a plugin which
imports the hooks does not load the router, and `import pointsman` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .chat import Chunk, Completion, Message, Request, ToolCall, Usage
    from .config import Config, ModelSettings, RolloutSettings, RouterSettings, TaskSettings
    from .context import AttemptContext, DecisionContext, RouteState
    from .decision import Assignment, AttemptOutcome, AttemptRecord, Decision
    from .errors import (
        AllTargetsFailed,
        AttemptFailed,
        BadRequest,
        ConfigError,
        ContentPolicy,
        ContextLength,
        DeadlineExceeded,
        Failure,
        NoTarget,
        PluginError,
        PointsmanError,
        RecordsUnavailable,
        RouteError,
        RouterClosed,
        StreamInterrupted,
        UsageError,
    )
    from .events import (
        AttemptFinished,
        AttemptStarted,
        CircuitChanged,
        ConfigChanged,
        ConfigRejected,
        Event,
        RequestEvent,
        RequestFinished,
        RequestInfo,
        RequestStarted,
        RolloutChanged,
        RolloutHalted,
        RolloutResumed,
        RouterEvent,
    )
    from .hookspecs import (
        BackendInvocation,
        FallbackDecision,
        Gate,
        MetricEmission,
        ModelSelection,
        Recording,
        Streaming,
        hookimpl,
    )
    from .records import RecordedRequest, RecordQuery
    from .router import Router
    from .settings import Seconds, Secret
    from .streams import AsyncStream, Stream
    from .targets import Target
    from .verdicts import GateStatus, Next, Permit, Selection, SkipTarget, Stop, WaitUntil

__all__ = [
    "AllTargetsFailed",
    "Assignment",
    "AsyncStream",
    "AttemptContext",
    "AttemptFailed",
    "AttemptFinished",
    "AttemptOutcome",
    "AttemptRecord",
    "AttemptStarted",
    "BackendInvocation",
    "BadRequest",
    "Chunk",
    "CircuitChanged",
    "Completion",
    "Config",
    "ConfigChanged",
    "ConfigError",
    "ConfigRejected",
    "ContentPolicy",
    "ContextLength",
    "DeadlineExceeded",
    "Decision",
    "DecisionContext",
    "Event",
    "Failure",
    "FallbackDecision",
    "Gate",
    "GateStatus",
    "Message",
    "MetricEmission",
    "ModelSelection",
    "ModelSettings",
    "Next",
    "NoTarget",
    "Permit",
    "PluginError",
    "PointsmanError",
    "RecordQuery",
    "RecordedRequest",
    "Recording",
    "RecordsUnavailable",
    "Request",
    "RequestEvent",
    "RequestFinished",
    "RequestInfo",
    "RequestStarted",
    "RolloutChanged",
    "RolloutHalted",
    "RolloutResumed",
    "RolloutSettings",
    "RouteError",
    "RouteState",
    "Router",
    "RouterClosed",
    "RouterEvent",
    "RouterSettings",
    "Seconds",
    "Secret",
    "Selection",
    "SkipTarget",
    "Stop",
    "Stream",
    "StreamInterrupted",
    "Streaming",
    "Target",
    "TaskSettings",
    "ToolCall",
    "Usage",
    "UsageError",
    "WaitUntil",
    "hookimpl",
]

_HOMES = (
    "settings",
    "errors",
    "chat",
    "targets",
    "decision",
    "events",
    "verdicts",
    "context",
    "records",
    "hookspecs",
    "config",
    "streams",
    "router",
)


def __getattr__(name: str) -> Any:
    if name in __all__:
        for home in _HOMES:
            module = import_module(f".{home}", __name__)
            if name in vars(module):
                globals()[name] = value = vars(module)[name]
                return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
