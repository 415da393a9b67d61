"""The models of the reference workload, by the names that the LiteLLM proxy gives them."""

SLUGS = (
    "z-ai/glm-4.5-air:free",
    "openai/gpt-oss-20b:free",
    "deepseek/deepseek-chat-v3.1:free",
    "qwen/qwen3-coder:free",
    "minimax/minimax-m2:free",
    "moonshotai/kimi-k2:free",
    "google/gemma-3-27b-it:free",
    "openai/gpt-4o-mini",
    "google/gemini-2.0-flash-exp:free",
    "anthropic/claude-3-haiku",
    "meta-llama/llama-3.1-70b-instruct",
)

PINGING = "openrouter/moonshotai/kimi-k2:free"
"""The model whose streams the proxy of all tests keeps alive with pings."""

LITELLM_MODELS = {f"openrouter/{slug}": f"openrouter/{slug}" for slug in SLUGS}
