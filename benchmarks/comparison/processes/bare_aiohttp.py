"""aiohttp alone."""

import json

import aiohttp
import worker
from traffic import KEY, Parsed, whole_body

HEADERS = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}


class Client:
    def __init__(self, bases: list[str]) -> None:
        self.urls = [f"{base}/chat/completions" for base in bases]
        connector = aiohttp.TCPConnector(limit=0)
        self.session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))

    async def complete(self) -> str:
        for url in self.urls:
            content = json.dumps(whole_body(), separators=(",", ":")).encode()
            async with self.session.post(url, data=content, headers=HEADERS) as response:
                body = await response.read()
                if response.status == 200:
                    return json.loads(body)["choices"][0]["message"]["content"]
        raise RuntimeError("nobody answered")

    async def stream(self) -> list[str]:
        content = json.dumps(whole_body(stream=True), separators=(",", ":")).encode()
        parsed = Parsed()
        async with self.session.post(self.urls[0], data=content, headers=HEADERS) as response:
            async for data in response.content.iter_any():
                parsed.feed(data)
        return parsed.words


if __name__ == "__main__":
    worker.main(Client, ["aiohttp"])
