"""pydantic-ai's FallbackModel, asked directly, without an agent around it."""

import openai
import worker
from pydantic_ai.direct import model_request, model_request_stream
from pydantic_ai.messages import ModelRequest, PartDeltaEvent, PartStartEvent
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from traffic import KEY, MODEL, PROMPT


class Client:
    def __init__(self, bases: list[str]) -> None:
        def model(base: str) -> OpenAIChatModel:
            client = openai.AsyncOpenAI(base_url=base, api_key=KEY, max_retries=0, timeout=300)
            return OpenAIChatModel(MODEL, provider=OpenAIProvider(openai_client=client))

        self.model = FallbackModel(model(bases[0]), model(bases[-1]))

    async def complete(self) -> str:
        answer = await model_request(self.model, [ModelRequest.user_text_prompt(PROMPT)])
        return answer.parts[0].content

    async def stream(self) -> list[str]:
        pieces: list[str] = []
        async with model_request_stream(self.model, [ModelRequest.user_text_prompt(PROMPT)]) as events:
            async for event in events:
                if isinstance(event, PartStartEvent):
                    pieces.append(event.part.content)
                elif isinstance(event, PartDeltaEvent):
                    pieces.append(event.delta.content_delta)
        return pieces


if __name__ == "__main__":
    worker.main(Client, ["pydantic-ai-slim", "openai"])
