"""`examples/friday/pointsman.toml` is the reference workload, name by name."""

import re
import tomllib
from pathlib import Path

import pytest

FRIDAY = Path(__file__).parents[1] / "examples" / "friday"
CONFIG = tomllib.loads((FRIDAY / "pointsman.toml").read_text("utf-8"))

# Short name, through the proxy, directly.
MODELS = [
    ("glm-4.5-air-free", "openrouter/z-ai/glm-4.5-air:free", "z-ai/glm-4.5-air:free"),
    ("gpt-oss-20b-free", "openrouter/openai/gpt-oss-20b:free", "openai/gpt-oss-20b:free"),
    (
        "deepseek-chat-v3.1-free",
        "openrouter/deepseek/deepseek-chat-v3.1:free",
        "deepseek/deepseek-chat-v3.1:free",
    ),
    ("qwen3-coder-free", "openrouter/qwen/qwen3-coder:free", "qwen/qwen3-coder:free"),
    ("minimax-m2-free", "openrouter/minimax/minimax-m2:free", "minimax/minimax-m2:free"),
    ("kimi-k2-free", "openrouter/moonshotai/kimi-k2:free", "moonshotai/kimi-k2:free"),
    ("gemma-3-27b-free", "openrouter/google/gemma-3-27b-it:free", "google/gemma-3-27b-it:free"),
    ("gpt-4o-mini", "openrouter/openai/gpt-4o-mini", "openai/gpt-4o-mini"),
    ("gemini-2.0-flash-exp", "openrouter/google/gemini-2.0-flash-exp:free", "google/gemini-2.0-flash-exp:free"),
    ("claude-3-haiku", "openrouter/anthropic/claude-3-haiku", "anthropic/claude-3-haiku"),
    ("llama-3.1-70b", "openrouter/meta-llama/llama-3.1-70b-instruct", "meta-llama/llama-3.1-70b-instruct"),
]

# Task, models with the first choice first, why.
TASKS = [
    ("chat", ["glm-4.5-air-free", "gpt-oss-20b-free", "gemma-3-27b-free"], "best Danish in our test"),
    ("email-draft", ["glm-4.5-air-free", "gpt-oss-20b-free", "claude-3-haiku"], "professional writing"),
    ("email-analysis", ["gpt-oss-20b-free", "glm-4.5-air-free", "claude-3-haiku"], "fast (2.6 s on average)"),
    ("invoice-create", ["gemma-3-27b-free", "gpt-4o-mini", "gemini-2.0-flash-exp"], "structured data"),
    ("calendar-check", ["gemma-3-27b-free", "gpt-4o-mini", "gemini-2.0-flash-exp"], "simple date logic"),
    ("calendar-create", ["gemma-3-27b-free", "gpt-4o-mini", "gemini-2.0-flash-exp"], "precise events"),
    ("lead-analysis", ["claude-3-haiku", "llama-3.1-70b", "gemma-3-27b-free"], "business reasoning"),
    ("data-analysis", ["llama-3.1-70b", "claude-3-haiku", "gemini-2.0-flash-exp"], "complex queries"),
    (
        "code-generation",
        ["qwen3-coder-free", "deepseek-chat-v3.1-free", "claude-3-haiku", "llama-3.1-70b"],
        "code specialist",
    ),
    ("complex-reasoning", ["glm-4.5-air-free", "gpt-oss-20b-free", "llama-3.1-70b"], "reasoning"),
]


def test_every_model_has_both_names() -> None:
    assert {name: model["on"] for name, model in CONFIG["models"].items()} == {
        name: {"litellm_backend": proxied, "openrouter_direct": direct} for name, proxied, direct in MODELS
    }


def test_exactly_the_free_models_share_the_free_quota() -> None:
    assert {name: model.get("quota") for name, model in CONFIG["models"].items()} == {
        name: "openrouter-free" if direct.endswith(":free") else None for name, _, direct in MODELS
    }


def test_every_task_has_its_models_in_order_and_a_reason() -> None:
    assert CONFIG["tasks"] == {name: {"models": models, "why": why} for name, models, why in TASKS}


def test_every_model_of_a_task_is_configured() -> None:
    assert {model for task in CONFIG["tasks"].values() for model in task["models"]} <= CONFIG["models"].keys()


def test_half_of_the_users_take_the_proxy_and_the_direct_path_is_the_last_resort() -> None:
    assert CONFIG["paths"] == {"proxied": ["litellm_backend", "openrouter_direct"], "direct": ["openrouter_direct"]}
    assert CONFIG["rollout"] == {"salt": "litellm-2025-11", "control": "direct", "shares": {"proxied": 50}}


def test_the_router_and_its_plugins_are_those_of_the_workload() -> None:
    assert CONFIG["router"] == {"deadline": "60s", "max_attempts": 4, "default_task": "chat"}
    assert CONFIG["plugins"] == {
        "litellm_backend": {"base_url": "http://localhost:4000", "api_key": {"env": "LITELLM_MASTER_KEY"}},
        "openrouter_direct": {"api_key": {"env": "OPENROUTER_API_KEY"}},
        "metrics_stdout": {},
    }


@pytest.mark.parametrize("script", ["complete.py", "acomplete.py"])
def test_the_scripts_ask_only_for_tasks_that_exist(script: str) -> None:
    text = (FRIDAY / script).read_text("utf-8")
    asked = re.findall(r'task="([^"]+)"', text) + re.findall(r'^    "([^"]+)": f?"', text, re.MULTILINE)
    assert asked
    assert set(asked) <= CONFIG["tasks"].keys()
