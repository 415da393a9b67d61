"""What `docs/rollout.md` shows works, and the numbers that it states are those that are tested."""

import re
from pathlib import Path

from attrs import fields

from pointsman import Assignment, Router
from pointsman.policy.guard import Guard
from tests.core.support import Scripted
from tests.core.test_guard import STATED

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "rollout.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def configured(tmp_path: Path) -> str:
    """Every piece of configuration of the page, as one file."""
    return "\n".join(
        [
            '[plugins.litellm_backend]\nbase_url = "http://127.0.0.1:9"\napi_key = { env = "A_KEY" }',
            '[plugins.openrouter_direct]\napi_key = { env = "A_KEY" }',
            '[models.claude-3-haiku]\non = { litellm_backend = "a", openrouter_direct = "b" }',
            '[tasks.chat]\nmodels = ["claude-3-haiku"]',
            *blocks("toml"),
        ]
    ).replace("halts.jsonl", str(tmp_path / "halts.jsonl"))


def test_the_configuration_of_the_page_is_one_that_works(tmp_path, monkeypatch):
    monkeypatch.setenv("A_KEY", "sk-nobody")
    (tmp_path / "pointsman.toml").write_text(configured(tmp_path), "utf-8")
    with Router.from_toml(tmp_path / "pointsman.toml") as router:
        assert router.explain(task="chat", unit="mette").path == "proxied"
        assert router.explain(task="email-draft", unit="mette").assignment is not None
        assert [step.plugin for step in router.snapshot.hooks.select_model][:3] == ["tasks", "guard", "rollout"]


def test_the_plugin_of_the_page_assigns(tmp_path):
    (code,) = blocks("python")
    names: dict[str, object] = {"__name__": "acme"}
    exec(code, names)
    made = {
        "plugins": {"proxy": Scripted(), "direct": Scripted(), "staff": names["StaffFirst"]()},  # type: ignore[operator]
        "models": {"m": {"on": {"proxy": "m", "direct": "m"}}},
        "tasks": {"chat": {"models": ["m"]}},
        "paths": {"proxied": ["proxy"], "direct": ["direct"]},
        "rollout": {"control": "direct"},
    }
    with Router(made) as router:
        assert router.explain(unit="mette@acme.example").assignment == Assignment(
            path="proxied", backends=("proxy",), salt="", rollout="default"
        )
        assert router.explain(unit="mette").path == "direct"


def test_the_guards_settings_stand_in_the_table_with_their_defaults():
    table = re.findall(r"^\| `(\w+)` \| (.+?) \| .+ \|$", TEXT.split("## The guard")[1], re.MULTILINE)
    made = Guard()
    assert {name: "none" if made_is is None else f"`{made_is:g}`" for name, made_is in settings(made)} == dict(table)


def settings(guard: Guard) -> list[tuple[str, float | None]]:
    return [(one.name, getattr(guard, one.name)) for one in fields(Guard) if one.init]


def test_the_stated_number_of_requests_is_the_tested_one():
    assert f"is out within {STATED:,} of its requests, in nineteen of twenty cases" in TEXT
