"""A virtual environment with nothing in it but what a user's own `pip install` puts there."""

import subprocess
import sys
from pathlib import Path

from attrs import frozen

from tests.support.command import Ran, environment


@frozen
class CleanEnvironment:
    """Made by `venv`, filled by its own pip, blind to the environment that the tests run in."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, *distributions: Path) -> "CleanEnvironment":
        """The environment once pip has built and installed these, and whatever they depend on."""
        subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=60)
        made = cls(folder)
        installed = made.pip("install", "--quiet", *distributions)
        assert installed.status == 0, installed.err
        return made

    def run(self, *words: str | Path) -> Ran:
        """Runs its Python with these words; every warning is an error."""
        return self._run("-W", "error", *words)

    def pip(self, *words: str | Path) -> Ran:
        """Runs its pip with these words."""
        return self._run("-m", "pip", "--disable-pip-version-check", *words)

    def _run(self, *words: str | Path) -> Ran:
        done = subprocess.run(
            [self.folder / "bin" / "python", *words],
            cwd=self.folder,
            env={name: value for name, value in environment().items() if name != "PYTHONPATH"},
            capture_output=True,
            encoding="utf-8",
            timeout=100,
            check=False,
        )
        return Ran(status=done.returncode, out=done.stdout, err=done.stderr)
