"""Who is compared, and the environment that each runs in."""

import asyncio
import json
import shutil
import sys
from importlib.metadata import distributions
from pathlib import Path

from attrs import frozen

from dev import clean_environ

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
    needs: tuple[str, ...]
    """What is installed into its own environment."""
    at_our_versions: bool = False
    """Whether everything in there that pointsman is made of too is of the same version as it is here."""
    blocking: bool = False
    parses: bool = False
    """Whether it only parses what the others are answered."""
    holds: bool = False
    """Whether it can have 10,000 requests in flight as it comes."""


ROOT = Path(__file__).parents[2]
FOLDERS = [ROOT / "core", ROOT / "plugins" / "openai_compatible"]
POINTSMAN = [word for folder in FOLDERS for word in ("-e", str(folder))]
PROJECTS = [file.read_text() for folder in FOLDERS if (file := folder / "pyproject.toml").exists()]
"""What an environment with pointsman in it does not follow by itself."""


def ours(name: str, script: str, title: str, *needs: str, **more: bool) -> Contestant:
    """One that is made of what pointsman is made of."""
    return Contestant(name, script, title, needs, at_our_versions=True, **more)


CONTESTANTS = (
    ours("pointsman", "router_pointsman.py", "pointsman", *POINTSMAN, holds=True),
    ours("pointsman-sync", "router_pointsman_sync.py", "pointsman, synchronous face", *POINTSMAN, blocking=True),
    ours(
        "pointsman-httpx",
        "router_pointsman_httpx.py",
        "pointsman through a host's httpx transport over aiohttp",
        *POINTSMAN,
        "httpx-aiohttp",
    ),
    ours("aiohttp", "bare_aiohttp.py", "aiohttp alone", "aiohttp", holds=True),
    ours("seam", "bare_seam.py", "httpx transport seam over aiohttp, bare", "httpx-aiohttp", holds=True),
    ours("httpx", "client_httpx.py", "httpx.AsyncClient", "httpx"),
    ours("httpx-sync", "client_httpx_sync.py", "httpx.Client", "httpx", blocking=True),
    Contestant("openai", "sdk_openai.py", "OpenAI SDK", ("openai",)),
    Contestant("litellm", "router_litellm.py", "LiteLLM Router", ("litellm",)),
    Contestant("langchain", "chain_langchain.py", "LangChain with_fallbacks", ("langchain-openai",)),
    Contestant("pydantic-ai", "model_pydantic_ai.py", "pydantic-ai FallbackModel", ("pydantic-ai-slim[openai]",)),
    ours("parsing", "parsing.py", "parsing the same bytes from memory, json", parses=True),
    ours(
        "parsing-msgspec", "parsing_msgspec.py", "parsing the same bytes from memory, msgspec", "msgspec", parses=True
    ),
)
UPSTREAM = ("uvloop",)
"""What the server needs."""


class NotInstalled(Exception):
    """An environment cannot be made; the text says why."""


async def python_of(name: str, needs: tuple[str, ...], *, at_our_versions: bool = False, offline: bool) -> str:
    """The interpreter that has what is needed, in an environment that stays for the next time.

    Offline it is the environment of the benchmark for those that are made of what that has.
    """
    if offline and at_our_versions:
        return sys.executable
    folder = ENVIRONMENTS / name
    python, installed, versions = folder / "bin" / "python", folder / "installed.json", folder / "versions.txt"
    here = [f"{one.name}=={one.version}" for one in distributions() if not one.name.startswith("pointsman")]
    pins = sorted(here) if at_our_versions else []
    wanted = json.dumps([sys.version, needs, pins, PROJECTS if at_our_versions else []])
    if python.exists() and installed.exists() and installed.read_text() == wanted:
        return str(python)
    if offline:
        raise NotInstalled("--offline")
    print(f"installing the environment of {name} ...", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    uv = shutil.which("uv")
    if uv:
        await _run(uv, "venv", "--quiet", "--python", sys.executable, str(folder))
        pip = (uv, "pip", "install", "--quiet", "--python", str(python))
    else:
        await _run(sys.executable, "-m", "venv", str(folder))
        pip = (str(python), "-m", "pip", "install", "-qq")
    versions.write_text("\n".join(pins))
    if needs:
        await _run(*pip, "--constraint", str(versions), *needs)
    installed.write_text(wanted)
    return str(python)


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL, env=clean_environ())
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
