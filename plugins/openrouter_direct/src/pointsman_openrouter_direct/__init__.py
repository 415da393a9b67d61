"""OpenRouter's API as a pointsman backend."""

from .backend import OpenRouterDirect

__all__ = ["OpenRouterDirect"]
