"""httpx.Client, which blocks."""

import httpx
import worker
from traffic import KEY, Parsed, whole_body


class Client:
    def __init__(self, bases: list[str]) -> None:
        self.urls = [f"{base}/chat/completions" for base in bases]
        self.client = httpx.Client(headers={"authorization": f"Bearer {KEY}"}, timeout=300)

    def complete(self) -> str:
        for url in self.urls:
            response = self.client.post(url, json=whole_body())
            if response.status_code == 200:
                return response.json()["choices"][0]["message"]["content"]
        raise RuntimeError("nobody answered")

    def stream(self) -> list[str]:
        parsed = Parsed()
        with self.client.stream("POST", self.urls[0], json=whole_body(stream=True)) as response:
            for data in response.iter_bytes():
                parsed.feed(data)
        return parsed.words


if __name__ == "__main__":
    worker.main(Client, ["httpx"])
