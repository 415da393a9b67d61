"""The page of guarantees names tests that there are."""

import ast
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
NAMED = re.findall(r"\[`(test_\w+)`\]\(([^)]+)\)", (DOCS / "guarantees.md").read_text("utf-8"))


@pytest.mark.parametrize(("test", "place"), NAMED, ids=[test for test, _ in NAMED])
def test_what_holds_a_guarantee_is_a_test(test: str, place: str) -> None:
    module = ast.parse((DOCS / place).read_text("utf-8"))
    names = {node.name for node in module.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert test in names


def test_every_guarantee_is_held_by_something() -> None:
    rows = re.findall(r"^\| (?!promise|---)(.+) \| (.*) \|$", (DOCS / "guarantees.md").read_text("utf-8"), re.MULTILINE)
    assert len(rows) > 20
    assert [promise for promise, held_by in rows if "](../tests/" not in held_by] == []
