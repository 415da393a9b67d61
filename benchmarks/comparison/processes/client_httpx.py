"""httpx.AsyncClient as it comes."""

import httpx
import worker
from traffic import KEY, Parsed, whole_body


class Client:
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=20)
    """httpx's own."""

    def __init__(self, bases: list[str]) -> None:
        self.urls = [f"{base}/chat/completions" for base in bases]
        headers = {"authorization": f"Bearer {KEY}"}
        self.client = httpx.AsyncClient(headers=headers, timeout=300, limits=self.limits)

    async def complete(self) -> str:
        for url in self.urls:
            response = await self.client.post(url, json=whole_body())
            if response.status_code == 200:
                return response.json()["choices"][0]["message"]["content"]
        raise RuntimeError("nobody answered")

    async def stream(self) -> list[str]:
        parsed = Parsed()
        async with self.client.stream("POST", self.urls[0], json=whole_body(stream=True)) as response:
            async for data in response.aiter_bytes():
                parsed.feed(data)
        return parsed.words


if __name__ == "__main__":
    worker.main(Client, ["httpx"])
