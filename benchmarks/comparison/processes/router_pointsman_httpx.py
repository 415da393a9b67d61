"""pointsman as in `router_pointsman.py`, through the httpx transport that a host brings along: the bare seam's own."""

import aiohttp
import router_pointsman
import worker
from httpx_aiohttp import AiohttpTransport

from pointsman import Router


def transport() -> AiohttpTransport:
    return AiohttpTransport(client=lambda: aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))


class Client(router_pointsman.Client):
    def new_router(self, bases: list[str]) -> Router:
        config = router_pointsman.config(bases)
        for backend in ("proxy", "direct"):
            config["plugins"][backend]["transport"] = transport
        return Router(config)


if __name__ == "__main__":
    worker.main(Client, ["pointsman", "pointsman-openai-compatible", "httpx", "httpx-aiohttp", "aiohttp"])
