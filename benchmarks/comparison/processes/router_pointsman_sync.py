"""pointsman, the synchronous face, set up as the other one."""

import router_pointsman
import worker
from traffic import PROMPT


class Client(router_pointsman.Base):
    def complete(self) -> str:
        answer = self.router.complete(PROMPT, task="chat", unit=next(self.units))
        assert answer.decision.served is not None
        return answer.text

    def stream(self) -> list[str]:
        with self.router.stream(PROMPT, task="chat", unit=next(self.units)) as stream:
            return [chunk.text for chunk in stream if chunk.text]


if __name__ == "__main__":
    worker.main(Client, ["pointsman", "pointsman-openai-compatible", "httpx", "aiohttp"])
