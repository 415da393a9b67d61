"""LiteLLM's Router, with a fallback and without retries and cooldowns, which would keep it from the failing target."""

import logging
import os

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it is fetched
os.environ["LITELLM_LOG"] = "CRITICAL"

import litellm
import worker
from traffic import KEY, MESSAGES, MODEL

litellm.telemetry = False
litellm.suppress_debug_info = True
logging.disable(logging.ERROR)


class Client:
    def __init__(self, bases: list[str]) -> None:
        names = [f"target-{number}" for number in range(2)]
        at = zip(names, (bases[0], bases[-1]), strict=True)
        models = [
            {"model_name": name, "litellm_params": {"model": f"openai/{MODEL}", "api_base": base, "api_key": KEY}}
            for name, base in at
        ]
        self.router = litellm.Router(
            model_list=models,
            fallbacks=[{names[0]: names[1:]}],
            num_retries=0,
            disable_cooldowns=True,
            timeout=300,
        )

    async def complete(self) -> str:
        answer = await self.router.acompletion(model="target-0", messages=MESSAGES)
        return answer.choices[0].message.content

    async def stream(self) -> list[str]:
        chunks = await self.router.acompletion(
            model="target-0", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
        return [text async for chunk in chunks if chunk.choices and (text := chunk.choices[0].delta.content)]


if __name__ == "__main__":
    worker.main(Client, ["litellm", "openai", "httpx", "aiohttp"])
