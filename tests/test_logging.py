"""What pointsman logs is in `docs/logging.md`, each message, and it sets nothing up."""

import ast
import logging
import re
from collections.abc import Iterator
from pathlib import Path

from tests.support.command import run

ROOT = Path(__file__).parents[1]
SOURCES = [ROOT / "core" / "src", *sorted(ROOT.glob("plugins/*/src"))]
LEVELS = ("debug", "info", "warning", "error", "exception", "critical", "log")


def calls() -> Iterator[tuple[str, str, str]]:
    """Logger, level and message of every call that logs."""
    for source in SOURCES:
        for file in sorted(source.rglob("*.py")):
            name = ".".join(file.relative_to(source).with_suffix("").parts).removesuffix(".__init__")
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                match node:
                    case ast.Call(func=ast.Attribute(value=ast.Name(id=whose), attr=level)) if level in LEVELS:
                        if whose in {"log", "logger", "_logger", "logging"}:
                            assert whose == "logger", f"{file}: loggers are called `logger`"
                            (message, *_) = node.args
                            assert isinstance(message, ast.Constant), f"{file}:{node.lineno}: the message is no text"
                            yield name, level.upper(), str(message.value)
                    case _:
                        pass


def documented() -> list[tuple[str, str, str]]:
    table = (ROOT / "docs" / "logging.md").read_text("utf-8")
    return re.findall(r"^\| `([\w.]+)` \| ([A-Z]+) \| `(.+?)` \| .+ \|$", table, re.MULTILINE)


def test_every_message_is_documented_and_every_documented_one_exists() -> None:
    assert sorted(documented()) == sorted(calls())
    assert len(documented()) > 10


def test_a_logger_has_the_name_of_its_module() -> None:
    for source in SOURCES:
        for file in source.rglob("*.py"):
            made = re.findall(r"getLogger\((.*?)\)", file.read_text("utf-8"))
            assert made in ([], ["__name__"]), file


def test_no_message_carries_a_traceback() -> None:
    assert not [call for call in calls() if call[1] == "EXCEPTION"]


def test_nothing_about_logging_is_set_up(tmp_path: Path) -> None:
    program = (
        "import logging\n"
        "from pointsman import Router\n"
        "Router({}).close()\n"
        "for name, one in logging.root.manager.loggerDict.items():\n"
        "    if name.split('.')[0].startswith('pointsman') and isinstance(one, logging.Logger):\n"
        "        print(name, one.level, one.handlers, one.filters, one.propagate)\n"
        "print(logging.root.handlers)\n"
    )
    ran = run("-c", program, cwd=tmp_path, cold=True)
    *loggers, handlers = ran.out.splitlines()
    assert (ran.status, handlers) == (0, "[]")
    assert loggers
    assert all(line.endswith(f" {logging.NOTSET} [] [] True") for line in loggers)
