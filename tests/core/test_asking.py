"""What is asked of decision plugins, and what they may not answer or raise."""

import threading

import pytest

from pointsman.asking import raised, report_gate, settle
from pointsman.context import DecisionContext
from pointsman.errors import PluginError
from pointsman.hookspecs import Gate, hookimpl
from pointsman.loading import from_config
from pointsman.targets import Target
from pointsman.verdicts import GateStatus, Next, Permit, SkipTarget
from tests.core.support import Clock, Deciding, Gatekeeper, drive, failure, table


class Reporting(Gate):
    """A gate that says what its test wants."""

    def __init__(self, report, settling=None):
        self.report, self.settling = report, settling

    @hookimpl
    def admit(self, target, ctx):
        return Permit(target)

    @hookimpl
    def settle(self, permit, outcome, failure, ctx):
        if self.settling is not None:
            self.settling()

    @hookimpl
    def report_gate(self, ctx):
        return self.report


def asked(**plugins) -> DecisionContext:
    return DecisionContext(from_config(table(plugins=plugins)), 7, Clock())


def interrupt():
    raise KeyboardInterrupt


def test_a_policy_may_not_choose_what_the_gate_had_refused():
    gate = Gatekeeper(lambda target, ctx: SkipTarget("shut") if target.model == "large" else None)
    stubborn = Deciding(lambda request, failure, state: Next(state.candidates[1]))
    run = drive(table(plugins={"gate": gate, "stubborn": stubborn}), [failure()])
    assert isinstance(run.error, PluginError)
    assert (run.error.plugin, run.error.hook) == ("stubborn", "decide_fallback")
    assert "chose proxy/large, which the gate had refused" in str(run.error)


def test_a_policy_cannot_change_what_its_choice_is_held_against():
    def widen(request, failure, state):
        elsewhere = Target(model="small", backend="elsewhere", name="x")
        state.candidates = (*state.candidates, elsewhere)
        return Next(elsewhere)

    run = drive(table(plugins={"stubborn": Deciding(widen)}), [failure()])
    assert isinstance(run.error, PluginError)
    assert (run.error.plugin, run.error.hook) == ("stubborn", "decide_fallback")


def test_every_gate_is_asked_what_it_holds_and_may_hold_nothing():
    held = GateStatus(scope="target", name="proxy/small", state="open")
    statuses = report_gate(asked(quiet=Reporting(None), first=Reporting([held]), second=Reporting((held,))))
    assert sorted(status.plugin for status in statuses) == ["first", "second"]


def test_a_gate_that_reports_something_else_is_named():
    with pytest.raises(PluginError, match="plugin odd: report_gate returned int") as error:
        report_gate(asked(odd=Reporting(7)))
    assert (error.value.plugin, error.value.hook) == ("odd", "report_gate")


def test_a_gate_that_left_since_keeps_nobody_from_hearing_of_the_end(caplog):
    gate = Gatekeeper()
    permit = Permit(Target(model="small", backend="proxy", name="x"))
    settle((("gone", permit), ("gate", permit)), "answered", None, asked(gate=gate))
    assert gate.outcomes == ["answered"]
    assert not caplog.records


def test_ctrl_c_at_the_gate_is_raised_and_a_gates_own_in_another_thread_is_not(caplog):
    context = asked(gate=Reporting(None, interrupt))
    admission = (("gate", Permit(Target(model="small", backend="proxy", name="x"))),)
    with pytest.raises(KeyboardInterrupt):
        settle(admission, "answered", None, context)
    elsewhere = threading.Thread(target=settle, args=(admission, "answered", None, context))
    elsewhere.start()
    elsewhere.join()
    (record,) = caplog.records
    assert record.getMessage().startswith("plugin gate: settle raised KeyboardInterrupt at test_asking.py:")


def test_where_a_plugin_raised_is_the_innermost_line_and_nothing_that_it_said():
    def deeper():
        raise ValueError("canary")

    with pytest.raises(ValueError, match="canary") as error:
        deeper()
    assert raised(error.value) == f"raised ValueError at test_asking.py:{deeper.__code__.co_firstlineno + 1}"
    assert raised(ValueError("canary")) == "raised ValueError"
