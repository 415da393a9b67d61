"""The bytes of the answers, parsed from memory with `json` and nothing else."""

import json

import worker
from traffic import Parsed, events, whole

PACKET = 64 * 1024


class Client:
    def __init__(self, bases: list[str]) -> None:
        self.whole = whole()
        streamed = b"".join(events())
        self.packets = [streamed[start : start + PACKET] for start in range(0, len(streamed), PACKET)]

    async def complete(self) -> str:
        return json.loads(self.whole)["choices"][0]["message"]["content"]

    async def stream(self) -> list[str]:
        parsed = Parsed()
        for packet in self.packets:
            parsed.feed(packet)
        return parsed.words


if __name__ == "__main__":
    worker.main(Client, [])
