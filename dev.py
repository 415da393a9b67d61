#!/usr/bin/env python3
"""One command from a fresh clone to a running demo or a full check. Needs Python and nothing else.

python3 dev.py demo [ARGS]   run `pointsman demo ARGS`
python3 dev.py test [ARGS]   lint, types and tests; ARGS go to pytest
python3 dev.py lint          lint and types only
python3 dev.py run CMD ...   run CMD inside the environment, for example: run pytest -k rollout

The first run makes the environments `.venv` and (for test) `.venv-litellm` beside this file. Later
runs reuse them until a pyproject.toml or the Python version changes. uv is used where it is installed.
"""

import contextlib
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

# Above everything that an older Python could not run; the file as a whole must stay parsable for it.
if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit(
        "dev.py: this is Python {}.{} ({}), and pointsman needs 3.11 or newer.\n"
        "Run it with a newer one, for example: python3.12 dev.py {}".format(
            sys.version_info[0], sys.version_info[1], sys.executable, " ".join(sys.argv[1:])
        )
    )

ROOT = Path(__file__).resolve().parent
WINDOWS = os.name == "nt"


class SetupError(Exception):
    """An environment could not be made; the text says what to do."""


def say(text: str) -> None:
    """Tell the person at the terminal; stdout belongs to the command that runs."""
    print(f"dev.py: {text}", file=sys.stderr, flush=True)


ANOTHER_PYTHON = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
ANOTHER_PLACE = {"PIP_USER", "PIP_TARGET", "PIP_PREFIX"}


def clean_environ() -> dict[str, str]:
    """Our environment without what would show the new one another's packages, or make pip install elsewhere."""
    return {k: v for k, v in os.environ.items() if k not in ANOTHER_PYTHON | ANOTHER_PLACE}


def quietly(command: Sequence[str | Path]) -> None:
    """Run a set-up command, and show what it said only if it failed."""
    done = subprocess.run(
        command, cwd=ROOT, env=clean_environ(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-30:])
        raise SetupError(f"{tail}\n\n`{' '.join(map(str, command))}` failed. Mend what it says and run dev.py again.")


class Environment:
    """A virtual environment in the repository, made and filled on demand.

    Each finished step leaves a stamp inside it; a step without its stamp was interrupted or is out
    of date, and is done again.
    """

    def __init__(self, path: Path, uv: str | None) -> None:
        self.path = path
        self.uv = uv
        self.bin = path / ("Scripts" if WINDOWS else "bin")
        self.python = self.bin / ("python.exe" if WINDOWS else "python")

    def create(self) -> None:
        """Make the empty environment, in place of a half-made one or one for another Python or place."""
        key = fingerprint(sys.version, sys.base_prefix, str(self.path), "uv" if self.uv else "pip")

        def make() -> None:
            shutil.rmtree(self.path, ignore_errors=True)
            if self.uv:
                quietly([self.uv, "venv", "--quiet", "--python", sys.executable, self.path])
            else:
                require_venv()
                quietly([sys.executable, "-m", "venv", self.path])

        self.step("environment", key, f"making {self.path.name} with {'uv' if self.uv else 'venv and pip'}", make)

    def install(self, name: str, requirements: Sequence[str], key: str, words: str) -> None:
        """Install the requirements in one command."""
        installer = (
            [self.uv, "pip", "install", "--quiet", "--python", self.python]
            if self.uv
            else [self.python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        )
        self.step(name, key, words, lambda: quietly([*installer, *requirements]))

    def step(self, name: str, key: str, words: str, work: Callable[[], None]) -> None:
        """Do the work unless the stamp says that exactly this was finished before."""
        stamp = self.path / f".{name}.stamp"
        if stamp.is_file() and stamp.read_text(encoding="utf-8") == key:
            return
        stamp.unlink(missing_ok=True)
        say(f"{words} ...")
        start = time.monotonic()
        work()
        stamp.write_text(key, encoding="utf-8")
        say(f"  done in {time.monotonic() - start:.0f} s")


def fingerprint(*parts: str) -> str:
    """One line that differs when any part differs."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def require_venv() -> None:
    """Raise with the remedy where the system's Python comes without `venv` or without pip's wheels."""
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        raise SetupError(
            f"{sys.executable} has no module {' and no module '.join(missing)}, so it cannot make an environment.\n"
            "On Debian and Ubuntu: sudo apt install python3-venv\n"
            "Anywhere: install uv, and dev.py uses that instead."
        )


def distributions(root: Path = ROOT) -> list[Path]:
    """The folders of everything in the repository that can be installed, the core first."""
    return [root / "core", *sorted(path.parent for path in root.glob("plugins/*/pyproject.toml"))]


def group(name: str, root: Path = ROOT) -> list[str]:
    """The requirements of one dependency group of the workspace."""
    import tomllib  # noqa: PLC0415  (an older Python must get as far as the message above)

    groups = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    return list(groups[name])


def packages_key(root: Path = ROOT) -> str:
    """Changes whenever an editable installation of the repository would."""
    files = [path / "pyproject.toml" for path in distributions(root)]
    return fingerprint(*(f"{file.relative_to(root)}\n{file.read_text(encoding='utf-8')}" for file in files))


def provide(*, tools: bool, litellm: bool) -> Environment:
    """Make and fill the environments that a command needs, and return the main one."""
    uv = shutil.which("uv")
    main = Environment(ROOT / ".venv", uv)
    with one_at_a_time():
        main.create()
        core, *plugins = distributions()
        editable = [part for path in (f"{core}[cli]", *plugins) for part in ("--editable", str(path))]
        main.install("packages", editable, packages_key(), "installing pointsman, its plugins and what they need")
        if tools:
            wanted = group("dev")
            main.install("tools", wanted, fingerprint(*wanted), "installing the test tools")
        if litellm:
            wanted = group("litellm")
            proxy = Environment(ROOT / ".venv-litellm", uv)
            proxy.create()
            words = "installing the real LiteLLM proxy to test against (large; once only)"
            proxy.install("litellm", wanted, fingerprint(*wanted), words)
    return main


@contextlib.contextmanager
def one_at_a_time() -> Generator[None]:
    """Keep a second dev.py waiting while the first one sets up."""
    if WINDOWS:  # no fcntl there
        yield
        return
    import fcntl  # noqa: PLC0415

    with (ROOT / ".dev.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another dev.py is setting up; waiting for it ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(env: Environment, command: Sequence[str], **extra: str) -> int:
    """Run a command as if the environment were activated, and return its exit status."""
    environ = clean_environ() | {"VIRTUAL_ENV": str(env.path)} | extra
    environ["PATH"] = f"{env.bin}{os.pathsep}{environ.get('PATH', os.defpath)}"
    program = shutil.which(command[0], path=environ["PATH"])
    if program is None:
        say(f"there is no command {command[0]!r} in {env.path.name} or on PATH")
        return 127
    return subprocess.run([program, *command[1:]], cwd=ROOT, env=environ, check=False).returncode


LINT: dict[str, list[str]] = {
    "ruff check": ["ruff", "check"],
    "ruff format": ["ruff", "format", "--check"],
    "pyright": ["pyright"],
}

PYTEST = ["pytest", "--numprocesses=auto", "--dist=loadgroup"]


def check(env: Environment, checks: dict[str, list[str]]) -> int:
    """Run every check, whatever the others say, then print a line for each; 1 if any failed."""
    lines: list[str] = []
    failed = False
    for name, command in checks.items():
        say(f"{name} ...")
        start = time.monotonic()
        status = run(env, command, PYRIGHT_PYTHON_IGNORE_WARNINGS="1", POINTSMAN_REQUIRE_LITELLM="1")
        failed = failed or status != 0
        lines.append(f"{name:12} {'FAILED' if status else 'ok':6} {time.monotonic() - start:6.1f} s")
    print("\n" + "\n".join(lines), flush=True)
    return int(failed)


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks and return the exit status."""
    verb, rest = (arguments[0], list(arguments[1:])) if arguments else ("help", [])
    if verb == "demo":
        return run(provide(tools=False, litellm=False), ["pointsman", "demo", *rest])
    if verb == "test":
        return check(provide(tools=True, litellm=True), LINT | {"pytest": [*PYTEST, *rest]})
    if verb == "lint" and not rest:
        return check(provide(tools=True, litellm=False), LINT)
    if verb == "run" and rest:
        return run(provide(tools=True, litellm=False), rest)
    print(__doc__, end="")
    return 0 if verb in {"help", "-h", "--help"} else 2


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except SetupError as error:
        sys.exit(f"dev.py: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
