"""The LiteLLM proxy as a pointsman backend."""

from .backend import LiteLLMBackend

__all__ = ["LiteLLMBackend"]
