"""dev.py sets itself up, says what is missing, and finishes what was interrupted."""

import ast
import importlib.util
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import dev

SOURCE = Path(dev.__file__)


@pytest.fixture
def environment(tmp_path):
    (tmp_path / ".venv").mkdir()
    return dev.Environment(tmp_path / ".venv", uv=None)


def commands(monkeypatch, *, failing=False):
    """Everything that dev.py would have run for its set-up, while nothing is run."""
    seen = []

    def record(command):
        seen.append([str(part) for part in command])
        if failing:
            raise dev.SetupError("no network")

    monkeypatch.setattr(dev, "quietly", record)
    return seen


def test_an_old_python_is_told_which_one_it_needs(monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 9, 2, "final", 0))
    with pytest.raises(SystemExit, match=r"Python 3\.9 .*\n?.*3\.11 or newer"):
        runpy.run_path(str(SOURCE))


def test_an_old_python_can_read_the_file_as_far_as_that():
    ast.parse(SOURCE.read_text(encoding="utf-8"), feature_version=(3, 7))


def test_it_needs_nothing_but_the_standard_library():
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = {name.name for node in imports for name in node.names if isinstance(node, ast.Import)}
    modules |= {str(node.module) for node in imports if isinstance(node, ast.ImportFrom)}
    assert {module.partition(".")[0] for module in modules} <= sys.stdlib_module_names


@pytest.mark.parametrize("module", ["venv", "ensurepip"])
def test_a_missing_venv_module_is_answered_with_the_remedy(monkeypatch, module):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == module else found(name))
    with pytest.raises(dev.SetupError, match=f"(?s)no module {module}.*apt install python3-venv"):
        dev.require_venv()


def test_a_finished_step_is_not_done_again(environment, monkeypatch):
    seen = commands(monkeypatch)
    for _ in range(2):
        environment.install("tools", ["ruff"], "key", "installing")
    assert len(seen) == 1


def test_an_interrupted_install_is_redone(environment, monkeypatch):
    commands(monkeypatch, failing=True)
    with pytest.raises(dev.SetupError):
        environment.install("tools", ["ruff"], "key", "installing")
    seen = commands(monkeypatch)
    environment.install("tools", ["ruff"], "key", "installing")
    assert len(seen) == 1


def test_an_install_that_fails_later_on_does_not_count_as_the_earlier_one(environment, monkeypatch):
    commands(monkeypatch)
    environment.install("tools", ["ruff"], "old", "installing")
    commands(monkeypatch, failing=True)
    with pytest.raises(dev.SetupError):
        environment.install("tools", ["ruff"], "new", "installing")
    seen = commands(monkeypatch)
    environment.install("tools", ["ruff"], "old", "installing")
    assert len(seen) == 1


def test_a_half_made_environment_is_made_anew(environment, monkeypatch):
    leftover = environment.path / "half-a-package"
    leftover.touch()
    made = commands(monkeypatch)
    monkeypatch.setattr(dev, "quietly", lambda command: (made.append(command), environment.path.mkdir()))
    environment.create()
    environment.create()
    assert len(made) == 1
    assert not leftover.exists()


@pytest.mark.parametrize("name", ["PIP_USER", "PIP_TARGET", "PYTHONPATH"])
def test_nothing_in_the_environment_sends_packages_elsewhere_or_shows_others(monkeypatch, name):
    monkeypatch.setenv(name, "1")
    dev.quietly([sys.executable, "-c", f"import os, sys; sys.exit({name!r} in os.environ)"])


def test_uv_is_used_where_there_is_one(tmp_path, monkeypatch):
    (tmp_path / ".venv").mkdir()
    seen = commands(monkeypatch)
    dev.Environment(tmp_path / ".venv", uv="/opt/uv").install("tools", ["ruff"], "key", "installing")
    assert seen[0][:3] == ["/opt/uv", "pip", "install"]


def test_a_changed_pyproject_is_a_reason_to_install_again(tmp_path):
    for folder in ("core", "plugins/one"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "pyproject.toml").write_text("[project]\n", encoding="utf-8")
    before = dev.packages_key(tmp_path)
    assert dev.packages_key(tmp_path) == before
    (tmp_path / "plugins/one/pyproject.toml").write_text('[project]\nname = "one"\n', encoding="utf-8")
    assert dev.packages_key(tmp_path) != before


def test_every_distribution_of_the_repository_is_installed():
    names = [tomllib.loads((path / "pyproject.toml").read_text())["project"]["name"] for path in dev.distributions()]
    assert names[0] == "pointsman"
    assert all(name.startswith("pointsman-") for name in names[1:])


def test_all_checks_run_although_one_fails_and_the_exit_status_says_so(environment, monkeypatch, capsys):
    monkeypatch.setattr(dev, "run", lambda env, command, **extra: int(command == ["two"]))
    status = dev.check(environment, {"one": ["one"], "two": ["two"], "three": ["three"]})
    assert status == 1
    assert [line.split()[:2] for line in capsys.readouterr().out.split("\n") if line] == [
        ["one", "ok"],
        ["two", "FAILED"],
        ["three", "ok"],
    ]


def test_a_failed_command_is_shown_with_what_it_said():
    with pytest.raises(dev.SetupError, match=r"(?s)the reason.*run dev\.py again"):
        dev.quietly([sys.executable, "-c", "print('the reason'); raise SystemExit(1)"])


def test_a_command_line_that_it_does_not_know_gets_the_usage():
    done = subprocess.run([sys.executable, SOURCE, "tset"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "dev.py demo" in done.stdout
