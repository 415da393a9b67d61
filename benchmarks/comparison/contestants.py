"""Who is compared, and the environment that each runs in."""

import asyncio
import json
import shutil
import sys
from pathlib import Path

from attrs import frozen

PROCESSES = Path(__file__).parent / "processes"
ENVIRONMENTS = Path(__file__).parents[2] / ".benchmarks" / "comparison"
INSTALLING = 900
"""Seconds that an installation may take."""


@frozen
class Contestant:
    """One client, in a process of its own."""

    name: str
    script: str
    title: str
    needs: tuple[str, ...] = ()
    """What is installed into its own environment.

    Nothing: what pointsman itself is made of. That runs in the environment of the benchmark, so that everybody has the
    same files of the same library: a second copy of them can be quicker or slower by where it happens to lie.
    """
    blocking: bool = False
    parses: bool = False
    """Whether it only parses what the others are answered."""
    holds: bool = False
    """Whether it can have 10,000 requests in flight as it comes."""


CONTESTANTS = (
    Contestant("pointsman", "router_pointsman.py", "pointsman", holds=True),
    Contestant("pointsman-sync", "router_pointsman_sync.py", "pointsman, synchronous face", blocking=True),
    Contestant(
        "pointsman-httpx", "router_pointsman_httpx.py", "pointsman through a host's httpx transport over aiohttp"
    ),
    Contestant("aiohttp", "bare_aiohttp.py", "aiohttp alone", holds=True),
    Contestant("seam", "bare_seam.py", "httpx transport seam over aiohttp, bare", holds=True),
    Contestant("httpx", "client_httpx.py", "httpx.AsyncClient"),
    Contestant("httpx-sync", "client_httpx_sync.py", "httpx.Client", blocking=True),
    Contestant("openai", "sdk_openai.py", "OpenAI SDK", ("openai",)),
    Contestant("litellm", "router_litellm.py", "LiteLLM Router", ("litellm",)),
    Contestant("langchain", "chain_langchain.py", "LangChain with_fallbacks", ("langchain-openai",)),
    Contestant("pydantic-ai", "model_pydantic_ai.py", "pydantic-ai FallbackModel", ("pydantic-ai-slim[openai]",)),
    Contestant("parsing", "parsing.py", "parsing the same bytes from memory, json", parses=True),
    Contestant(
        "parsing-msgspec",
        "parsing_msgspec.py",
        "parsing the same bytes from memory, msgspec",
        parses=True,
    ),
)
UPSTREAM_NEEDS = ("uvloop",)


class NotInstalled(Exception):
    """An environment cannot be made; the text says why."""


async def python_of(name: str, needs: tuple[str, ...], *, offline: bool) -> str:
    """The interpreter that has what is needed, in an environment that stays for the next time."""
    if not needs:
        return sys.executable
    folder = ENVIRONMENTS / name
    python, installed = folder / "bin" / "python", folder / "installed.json"
    wanted = json.dumps([sys.version_info[:2], needs])
    if installed.exists() and installed.read_text() == wanted:
        return str(python)
    if offline:
        raise NotInstalled("--offline")
    print(f"installing {', '.join(needs)} ...", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    if uv := shutil.which("uv"):
        await _run(uv, "venv", "--quiet", "--python", sys.executable, str(folder))
        await _run(uv, "pip", "install", "--quiet", "--python", str(python), *needs)
    else:
        await _run(sys.executable, "-m", "venv", str(folder))
        await _run(str(python), "-m", "pip", "install", "--quiet", *needs)
    installed.write_text(wanted)
    return str(python)


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL)
    try:
        status = await asyncio.wait_for(process.wait(), INSTALLING)
    except TimeoutError:
        raise NotInstalled(f"{Path(command[0]).name} did not end within {INSTALLING} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if status:
        raise NotInstalled(f"{Path(command[0]).name} ended with {status}")
