"""`pointsman hooks`: the order of calls, and where it comes from."""

from attrs import define

from pointsman import FallbackDecision, ModelSelection, hookimpl
from pointsman.hooks import CALLING, ORDERED
from tests.cli.conftest import Desk


@define(eq=False)
class Rule(ModelSelection, FallbackDecision):
    @hookimpl
    def select_model(self, request, candidates, ctx): ...

    @hookimpl
    def decide_fallback(self, request, failure, state): ...


@define(eq=False)
class Eager(ModelSelection):
    @hookimpl(tryfirst=True)
    def select_model(self, request, candidates, ctx): ...


ORDERED_PART = """\
select_model
  A pipeline: each step sees what the last left; the last has the last word.
  1.  eager    its own mark, @hookimpl(tryfirst=True)
  2.  tasks    built in
  3.  rollout  built in
  4.  rule     after the built-in ones, pointsman.toml:27

decide_fallback
  Asked in order: the first answer wins.
  1.  rule      before the built-in ones, pointsman.toml:27
  2.  fallback  built in
  3.  retries   built in, set at pointsman.toml:29

admit
  Asked in order: everyone must agree, and the first refusal ends it.
  1.  breaker  built in
  2.  retries  built in, set at pointsman.toml:29

"""


def more(desk: Desk, text: str) -> None:
    desk.configure((desk.folder / "pointsman.toml").read_text("utf-8") + text)


def with_rules(desk: Desk) -> None:
    desk.site.install("rules", offers={"rule": Rule, "eager": Eager})
    more(desk, "[plugins.rule]\n[plugins.eager]\n[plugins.retries]\nbudget = 5.0\n")


def test_the_order_and_its_reason_are_told(desk: Desk) -> None:
    with_rules(desk)
    assert desk.run("hooks").stdout.startswith(ORDERED_PART)


def test_an_order_of_the_configuration_is_told_with_its_line(desk: Desk) -> None:
    with_rules(desk)
    more(desk, '[order]\nselect_model = ["rule", "tasks"]\ndecide_fallback = ["retries"]\n')
    said = desk.run("hooks").stdout
    assert "  1.  rule     [order] select_model, pointsman.toml:32\n" in said
    assert "  3.  eager    its own mark, @hookimpl(tryfirst=True)\n" in said
    assert "  4.  rollout  after what [order] names, built in\n" in said
    assert "  2.  rule      after what [order] names, pointsman.toml:27\n" in said


def test_a_plugin_that_is_switched_off_is_called_by_nobody(desk: Desk) -> None:
    more(desk, "[plugins.breaker]\nenabled = false\n")
    assert "breaker" not in desk.run("hooks").stdout


def test_every_hook_is_there(desk: Desk) -> None:
    more(desk, "[plugins.quiet]\n")
    words = desk.run("hooks").stdout.split()
    assert [hook for hook in CALLING if hook not in words] == []
    document = desk.document("hooks")
    assert document.keys() == CALLING.keys()
    plugins = {hook: [step["plugin"] for step in told["steps"]] for hook, told in document.items()}
    assert plugins["complete"] == ["echo", "second"]
    assert plugins["settle"] == ["breaker", "retries"]
    assert plugins["emit_metric"] == ["quiet"]
    assert plugins["close_backend"] == []
    assert [hook for hook in ORDERED if len(plugins[hook]) > 1] == list(ORDERED)
    assert document["select_model"]["steps"][0] == {"plugin": "tasks", "placed_by": "default", "origin": "built in"}
