"""The OpenAI SDK. Of targets it knows nothing: the second is asked where the first one raised."""

import openai
import worker
from traffic import KEY, MESSAGES, MODEL


class Client:
    def __init__(self, bases: list[str]) -> None:
        self.clients = [openai.AsyncOpenAI(base_url=base, api_key=KEY, max_retries=0, timeout=300) for base in bases]

    async def complete(self) -> str:
        for client in self.clients:
            try:
                answer = await client.chat.completions.create(model=MODEL, messages=MESSAGES)
            except openai.InternalServerError:
                continue
            return answer.choices[0].message.content
        raise RuntimeError("nobody answered")

    async def stream(self) -> list[str]:
        chunks = await self.clients[0].chat.completions.create(
            model=MODEL, messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
        return [text async for chunk in chunks if chunk.choices and (text := chunk.choices[0].delta.content)]


if __name__ == "__main__":
    worker.main(Client, ["openai"])
