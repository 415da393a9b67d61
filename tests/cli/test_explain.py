"""`pointsman explain`: every step of a decision, without a key and without calling anyone."""

from typing import cast

from attrs import define

from pointsman import ModelSelection, Selection, hookimpl
from tests.cli.conftest import Desk


@define(eq=False)
class Tenants(ModelSelection):
    @hookimpl
    def select_model(self, request, candidates, ctx):
        only = cast("list[str]", request.parameters.get("only", ()))
        kept = [one for one in candidates if one.model in only]
        return Selection(kept, why="what the tenant bought") if "only" in request.parameters else None


EXPLAINED = """\
chat, unit 2: path both, bucket 17.590 %
3 targets configured

1. tasks reorders all 3: the better one
    1  large via echo    wire/large
    2  small via echo    wire/small
    3  small via second  small

2. rollout leaves all 3: bucket 17.590 %, both has 50 %
    1  large via echo    wire/large
    2  small via echo    wire/small
    3  small via second  small

First to be tried: large via echo; 2 more to fall back to.
Nobody was called. What a breaker has shut, router.health() says in the running program.
"""


def test_each_step_is_told_with_what_it_left_and_why(desk: Desk) -> None:
    assert desk.run("explain", "--unit", "2").stdout == EXPLAINED


def test_the_document_is_the_decision(desk: Desk) -> None:
    decision = desk.document("explain", "--unit", "1")["decision"]
    assert [(step["plugin"], len(step["targets"])) for step in decision["steps"]] == [("tasks", 3), ("rollout", 1)]
    assert decision["assignment"] == {
        "path": "one",
        "backends": ["second"],
        "bucket": 0.53654,
        "salt": "",
        "rollout": "default",
        "share": 50.0,
    }
    assert [target["model"] for target in decision["candidates"]] == ["small"]
    assert decision["attempts"] == []


def test_a_forced_model_is_explained(desk: Desk) -> None:
    assert "model small, unit 1: path one" in desk.run("explain", "--model", "small", "--unit", "1").stdout


def test_a_step_that_leaves_nobody_is_the_last_and_the_status_is_1(desk: Desk) -> None:
    said = desk.run("explain", "--model", "large", "--unit", "1", status=1).stdout
    assert said.endswith("NoTarget: rollout left no target: bucket 53.654 %, one has the rest\n")


def test_a_plugin_of_ones_own_sees_the_parameters_and_is_told(desk: Desk) -> None:
    desk.site.install("tenants", offers={"tenants": Tenants})
    desk.configure((desk.folder / "pointsman.toml").read_text("utf-8") + "[plugins.tenants]\n")
    said = desk.run("explain", "--unit", "2", "--param", 'only=["small"]').stdout
    assert "3. tenants leaves 2 of 3: what the tenant bought\n" in said
    assert "First to be tried: small via echo; 1 more to fall back to." in said
    ran = desk.run("explain", "--unit", "2", "--param", 'only=["none"]', status=1)
    assert ran.stdout.endswith("NoTarget: tenants left no target: what the tenant bought\n")
    failed = desk.document("explain", "--unit", "2", "--param", 'only=["none"]', status=1)
    assert failed["failed"]["error"] == "NoTarget"
    assert [step["plugin"] for step in failed["decision"]["steps"]] == ["tasks", "rollout", "tenants"]


def test_an_unknown_task_is_wrong_use(desk: Desk) -> None:
    assert 'did you mean "chat"?' in desk.run("explain", "--task", "chatt", status=2).stderr
