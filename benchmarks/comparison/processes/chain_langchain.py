"""LangChain: a chat model `with_fallbacks`."""

import worker
from langchain_openai import ChatOpenAI
from traffic import KEY, MODEL, PROMPT


class Client:
    def __init__(self, bases: list[str]) -> None:
        first, last = (
            ChatOpenAI(model=MODEL, base_url=base, api_key=KEY, max_retries=0, stream_usage=True, timeout=300)
            for base in (bases[0], bases[-1])
        )
        self.chain = first.with_fallbacks([last])

    async def complete(self) -> str:
        return (await self.chain.ainvoke(PROMPT)).content

    async def stream(self) -> list[str]:
        return [chunk.content async for chunk in self.chain.astream(PROMPT) if chunk.content]


if __name__ == "__main__":
    worker.main(Client, ["langchain-core", "langchain-openai", "openai"])
