"""Any OpenAI-style server as a pointsman backend, and the wire that other backends build on."""

from .backend import OpenAICompatible
from .diagnosis import Diagnosis
from .envelope import ServerError

__all__ = ["Diagnosis", "OpenAICompatible", "ServerError"]
