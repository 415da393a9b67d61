"""httpx's transport seam over aiohttp, without a client."""

import json

import aiohttp
import httpx
import worker
from httpx_aiohttp import AiohttpTransport
from traffic import KEY, Parsed, whole_body

HEADERS = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}


class Client:
    def __init__(self, bases: list[str]) -> None:
        self.urls = [f"{base}/chat/completions" for base in bases]
        self.transport = AiohttpTransport(client=lambda: aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))

    async def send(self, url: str, *, stream: bool = False) -> httpx.Response:
        content = json.dumps(whole_body(stream=stream), separators=(",", ":")).encode()
        return await self.transport.handle_async_request(httpx.Request("POST", url, headers=HEADERS, content=content))

    async def complete(self) -> str:
        for url in self.urls:
            response = await self.send(url)
            try:
                body = await response.aread()
            finally:
                await response.aclose()
            if response.status_code == 200:
                return json.loads(body)["choices"][0]["message"]["content"]
        raise RuntimeError("nobody answered")

    async def stream(self) -> list[str]:
        parsed = Parsed()
        response = await self.send(self.urls[0], stream=True)
        async for data in response.aiter_raw():
            parsed.feed(data)
        await response.aclose()
        return parsed.words


if __name__ == "__main__":
    worker.main(Client, ["httpx", "httpx-aiohttp", "aiohttp"])
