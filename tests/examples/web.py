"""Many users of a web application at once."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx
from attrs import frozen


@frozen
class Visitors:
    """They ask an application, each in a thread of its own."""

    url: str
    as_json: bool
    """Whether the application reads JSON; else it reads a form."""

    def ask(self, where: str, text: str = "Hvornår?") -> httpx.Response:
        """The application's response, read to its end."""
        with self._client() as client:
            return client.post(where, **self._question(text))

    def ask_at_once(self, where: str, count: int, pool: ThreadPoolExecutor) -> list[Future[httpx.Response]]:
        return [pool.submit(self.ask, where) for _ in range(count)]

    def leave_a_stream(self) -> None:
        """Reads the first piece of a streamed answer, and hangs up."""
        with self._client() as client, client.stream("POST", "/stream", **self._question("Hvornår?")) as response:
            next(response.iter_raw())

    def _client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, trust_env=False, timeout=20)

    def _question(self, text: str) -> dict[str, Any]:
        return {"json" if self.as_json else "data": {"text": text, "user": "u-17"}}
