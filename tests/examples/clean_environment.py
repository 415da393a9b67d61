"""A virtual environment with nothing in it but what a user's own `pip install` puts there."""

import importlib.util
import subprocess
import sys
import venv
from pathlib import Path

from attrs import frozen

from tests.support.command import Ran, environment

PIP = importlib.util.find_spec("pip") is not None
"""Whether our own pip can fill another environment. To install one into each takes longer than all the rest."""


@frozen
class CleanEnvironment:
    """Made by `venv`, filled by pip, blind to the environment that the tests run in."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, *distributions: Path) -> "CleanEnvironment":
        """The environment once pip has built and installed these, and whatever they depend on."""
        venv.create(folder, symlinks=True, with_pip=not PIP)
        made = cls(folder)
        installed = made.pip("install", "--quiet", *distributions)
        assert installed.status == 0, installed.err
        return made

    def run(self, *words: str | Path) -> Ran:
        """Runs its Python with these words; every warning is an error."""
        return self._run("-W", "error", *words)

    def pip(self, *words: str | Path) -> Ran:
        """Runs pip in it, with these words."""
        pip = ("-m", "pip", "--disable-pip-version-check")
        if not PIP:
            return self._run(*pip, *words)
        return self._run(*pip, "--python", self.folder, *words, python=sys.executable)

    def _run(self, *words: str | Path, python: str | None = None) -> Ran:
        done = subprocess.run(
            [python or self.folder / "bin" / "python", *words],
            cwd=self.folder,
            env={name: value for name, value in environment(PIP_NO_COMPILE="1").items() if name != "PYTHONPATH"},
            capture_output=True,
            encoding="utf-8",
            timeout=100,
            check=False,
        )
        return Ran(status=done.returncode, out=done.stdout, err=done.stderr)
