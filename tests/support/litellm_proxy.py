"""The real LiteLLM proxy, as a subprocess on loopback, in front of a scripted upstream."""

import contextlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from pointsman.testing import ScriptedServer

VENV = Path(__file__).resolve().parents[2] / ".venv-litellm"
START_LIMIT = 60.0

PORTS = range(20_000, 30_000)
"""Below those of outgoing connections, one of which would have taken the port while a proxy starts."""

OFFLINE = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_BLOG_POSTS": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_LOCAL_POLICY_TEMPLATES": "True",
    "LITELLM_LOCAL_AUTOROUTER_PRESETS": "True",
    "LITELLM_TELEMETRY": "False",
    # To count the tokens of a failed call to a Llama model, the proxy would fetch a tokenizer.
    "HF_HUB_OFFLINE": "1",
    "NO_PROXY": "*",
}
"""Every look-up on the network that the proxy would make by itself, switched off."""


def is_installed() -> bool:
    """Whether `dev.py` finished the environment that the proxy runs in."""
    return (VENV / ".litellm.stamp").is_file()


class LiteLLMProxy:
    """A running proxy. `models` maps what clients ask for to what LiteLLM calls upstream.

    Streams of the models that `keepalive` names open at once and carry a ping every so many seconds. Use it as a
    context manager, or call `kill()` to have it die in the middle of a test.
    """

    def __init__(
        self,
        models: Mapping[str, str],
        upstream: ScriptedServer,
        folder: Path,
        *,
        num_retries: int = 0,
        disable_cooldowns: bool = True,
        fallbacks: Mapping[str, Sequence[str]] | None = None,
        router_settings: Mapping[str, Any] | None = None,
        keepalive: Mapping[str, float] | None = None,
    ) -> None:
        self.upstream = upstream
        self.folder = folder
        self.master_key = "sk-pointsman-tests"
        self.upstream_key = "sk-or-pointsman-tests"
        self.port = 0
        api_base = f"{upstream.url}/api/v1"
        self.config = {
            "model_list": [
                {
                    "model_name": alias,
                    "litellm_params": {
                        "model": model,
                        "api_base": api_base,
                        "api_key": self.upstream_key,
                        "keepalive_seconds": (keepalive or {}).get(alias, 0),
                    },
                }
                for alias, model in models.items()
            ],
            "litellm_settings": {
                "fallbacks": [{alias: list(others)} for alias, others in (fallbacks or {}).items()],
            },
            "router_settings": {
                "num_retries": num_retries,
                "disable_cooldowns": disable_cooldowns,
                **(router_settings or {}),
            },
            "general_settings": {"master_key": self.master_key},
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "proxy.log").read_text(encoding="utf-8", errors="replace")

    def check(self) -> None:
        """Raises, with the end of its log, where it has ended by itself."""
        status = self._process.poll()
        if status is not None:
            raise RuntimeError(f"the LiteLLM proxy ended with status {status}; its log ends:\n{self._end_of_log()}")

    def start(self) -> None:
        """Start it, and return when it says that it is alive."""
        if not is_installed():
            raise RuntimeError("LiteLLM is not installed in .venv-litellm; `python3 dev.py test` does that")
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / "config.yaml"
        # JSON is YAML.
        config.write_text(json.dumps(self.config, indent=2), encoding="utf-8")
        self.port = free_port()
        # Nothing else of our environment: no keys, no proxies, no Python paths.
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LANG": "C.UTF-8"} | OFFLINE
        with (self.folder / "proxy.log").open("wb") as log:
            self._process = subprocess.Popen(
                [VENV / "bin" / "litellm", "--config", config, "--host", "127.0.0.1", "--port", str(self.port)],
                cwd=self.folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_until_alive()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Ask it to end, and make it where it does not."""
        try:
            self.terminate()
        except subprocess.TimeoutExpired:
            self.kill()

    def terminate(self) -> None:
        """Ask it to end. Raises `subprocess.TimeoutExpired` where it does not."""
        self._signal(signal.SIGTERM)
        self._process.wait(5)

    def kill(self) -> None:
        """End it and whatever it started, at once; its port refuses connections afterwards."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _wait_until_alive(self) -> None:
        deadline = time.monotonic() + START_LIMIT
        while self._process.poll() is None and time.monotonic() < deadline:
            with (
                contextlib.suppress(OSError),
                contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)) as connection,
            ):
                connection.request("GET", "/health/liveliness")
                if connection.getresponse().status == http.HTTPStatus.OK:
                    return
            time.sleep(0.1)
        self.check()
        raise RuntimeError(
            f"the LiteLLM proxy is not alive after {START_LIMIT:.0f} s; its log ends:\n{self._end_of_log()}"
        )

    def _end_of_log(self) -> str:
        return "\n".join(self.log.splitlines()[-40:])


def free_port() -> int:
    """A port that nobody listens at."""
    for port in random.SystemRandom().sample(PORTS, 100):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise RuntimeError(f"no port is free between {PORTS[0]} and {PORTS[-1]}")
