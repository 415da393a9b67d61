"""As in `parsing.py`, with the parser that pointsman's plugin for OpenAI-like servers has."""

import msgspec
import traffic
import worker
from parsing import Client

traffic.loads = msgspec.json.Decoder().decode

if __name__ == "__main__":
    worker.main(Client, ["msgspec"])
