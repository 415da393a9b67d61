"""The simulator: a configuration lives through an hour in a moment, and goes the way that a router would."""

import asyncio
from collections import Counter
from math import inf
from pathlib import Path

import pytest
from attrs import define, evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from pointsman import Router
from pointsman.chat import Chunk
from pointsman.config import Config, ModelSettings
from pointsman.errors import (
    AttemptFailed,
    BadRequest,
    ConfigError,
    DeadlineExceeded,
    Failure,
    Kind,
    RouteError,
    StreamInterrupted,
)
from pointsman.events import CircuitChanged, RequestFinished, RequestStarted
from pointsman.hookspecs import BackendInvocation, Streaming, hookimpl
from pointsman.testing import Answers, Breaks, Fails, Hangs, Outages, Recorded, Simulation
from pointsman.testing.behaviours import Behaviour
from tests.core.simulated import FAST, always, by_target, in_turn, moves, requests, routes
from tests.core.support import ROOT, Collecting, answer, decided, failed, for_ever, python, stories, story
from tests.faults.table import proves

FRIDAY = ROOT / "examples" / "friday" / "pointsman.toml"


# What it is for


def test_what_happens_to_lead_analysis_when_openrouter_is_down_for_a_minute():
    simulation = Simulation.from_toml(FRIDAY, Outages({"openrouter_direct": [(60, 120)]}))
    calls = [simulation.request(at=second, task="lead-analysis", unit=second) for second in range(180)]
    result = simulation.run()

    # Users behind the proxy notice nothing. The others are told so at once, not after a minute each.
    lost = [call for call in calls if not call.answered]
    assert {call.decision.path for call in lost} == {"direct"}
    assert max(call.duration for call in lost) < 3

    # The dead backend is left alone but for a few attempts to see, and is back within seconds.
    looks = [one for one in result.attempts if one.target.backend == "openrouter_direct" and 60 <= one.time < 120]
    assert len(looks) < 10
    assert max(call.at for call in lost) < 125
    assert Counter(str(call.served) for call in calls[125:]) == {
        "litellm_backend/claude-3-haiku": 30,
        "openrouter_direct/claude-3-haiku": 25,
    }


def test_the_proxied_path_goes_direct_while_the_proxy_is_down():
    simulation = Simulation.from_toml(FRIDAY, Outages({"litellm_backend": [(0, 60)]}))
    calls = [simulation.request(at=second, task="lead-analysis", unit=second) for second in range(60)]
    simulation.run()
    assert {str(call.served) for call in calls} == {"openrouter_direct/claude-3-haiku"}
    assert max(call.duration for call in calls) < 0.2


def test_a_file_is_simulated_without_any_key(monkeypatch):
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
    monkeypatch.delenv("LITELLM_MASTER_KEY", raising=False)
    simulation = Simulation.from_toml(FRIDAY, always(Answers()))
    call = simulation.request("Svar Mette Hansen", task="email-draft", unit=42, temperature=0.3, labels={"team": "a"})
    (event, *_) = simulation.run().events
    assert call.completion == answer("an answer", served_model=call.decision.candidates[0].name, decision=call.decision)
    assert isinstance(event, RequestStarted)
    assert event.labels == {"team": "a"}


def test_a_configuration_in_code_is_simulated_too():
    simulation = Simulation(Config(models={"small": ModelSettings(on={"proxy": "vendor/small"})}), always(Answers()))
    call = simulation.request()
    simulation.run()
    assert str(call.served) == "proxy/small"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[models", "pointsman.toml:1"),
        ("[models.small]", "models.small.on: this key is required"),
        ('models = ["small"]', "models: expected a table"),
        ('[models.small]\non = { proxy = "small" }\n[tasks.chat]\nmodels = ["smal"]', 'did you mean "small"?'),
    ],
)
def test_what_is_wrong_with_a_file_is_said_as_ever(text, complaint, tmp_path):
    file = Path(tmp_path, "pointsman.toml")
    file.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as raised:
        Simulation.from_toml(file, always(Answers()))
    assert complaint in str(raised.value)


def test_a_call_that_cannot_be_used_is_refused_as_by_a_router():
    with pytest.raises(BadRequest, match="deadline: a number of seconds"):
        Simulation(routes(), always(Answers())).request(deadline=-1)


# Time


def test_a_day_passes_in_a_moment():
    simulation = Simulation(routes(), always(Answers()))
    calls = [simulation.request(at=hour * 3600.0) for hour in range(24)]
    simulation.run()
    assert simulation.now == pytest.approx(23 * 3600 + 0.1)
    assert all(call.duration == pytest.approx(0.1) for call in calls)


def test_it_runs_until_a_time_and_then_on():
    simulation = Simulation(routes(["only"], ["small"]), always(Answers(after=10.0)))
    early, late = simulation.request(at=0), simulation.request(at=8)
    result = simulation.run(until=12)
    assert (simulation.now, early.answered, late.is_over) == (12, True, False)
    with pytest.raises(LookupError, match="request 1 has not ended"):
        _ = late.decision
    assert len(result.attempts) == 2
    later = simulation.request()
    simulation.run()
    assert (later.at, later.answered, late.answered) == (12, True, True)


def test_what_is_over_cannot_be_asked_for():
    simulation = Simulation(routes(), always(Answers()))
    simulation.run(until=12)
    with pytest.raises(ValueError, match="at 12 s already, and 11 s are over"):
        simulation.request(at=11)


def test_what_hangs_ends_at_its_limits():
    simulation = Simulation(routes(["only"], ["small"], router={"deadline": 40}), always(Hangs()))
    call = simulation.request()
    simulation.run()
    first, second = call.decision.attempts
    assert (first.duration, failed(first).breaker, failed(second).breaker) == (30.0, "counts", "neutral")
    assert isinstance(call.error, DeadlineExceeded)
    assert call.duration == pytest.approx(40)


def test_a_retry_after_is_kept_to():
    limited = Fails(Failure.of("rate_limit", "slow down", retry_after=7.0), after=0.0)
    simulation = Simulation(routes(["only"], ["small"]), in_turn(limited))
    call = simulation.request()
    first, second = simulation.run().attempts
    assert call.answered
    assert 7.0 <= second.time - first.time < 7.1


def test_a_behaviour_lasts_no_negative_time():
    with pytest.raises(ValueError, match="after"):
        Answers(after=-1)


# Callers who give up, and streams


@pytest.mark.parametrize(("after", "ends"), [(0, 0), (0.05, 0.05), (0.5, 0.1)])
def test_a_caller_who_gives_up_is_recorded_unless_there_is_an_answer(after, ends):
    simulation = Simulation(routes(), always(Answers(after=0.1)))
    call = simulation.request(at=1, cancel_after=after)
    events = story(requests(simulation.run().events))
    assert call.duration == pytest.approx(ends)
    assert call.decision.outcome == ("answered" if after > 0.1 else "cancelled")
    assert (call.completion is None, call.error) == (after < 0.1, None)
    assert events[-1].time == call.ended


def test_nothing_of_a_request_goes_on_after_its_caller_gave_up():
    simulation = Simulation(routes(), always(FAST))
    simulation.request(cancel_after=0.015)
    assert len(simulation.run().attempts) == 2


def test_a_stream_has_its_first_content_and_then_flows():
    simulation = Simulation(routes(), always(Answers(after=40.0, first_content=0.5)))
    call = simulation.request(stream=True)
    simulation.run()
    (attempt,) = call.decision.attempts
    assert (attempt.time_to_first_token, attempt.duration, call.answered) == (0.5, 40.0, True)


def test_a_stream_that_breaks_is_interrupted_with_what_had_come():
    simulation = Simulation(routes(), always(Breaks(first_content=0.5, after=3.0, text="Dear Met")))
    call = simulation.request(stream=True)
    simulation.run()
    assert isinstance(call.error, StreamInterrupted)
    assert call.error.partial is not None
    assert (call.error.partial.text, call.duration) == ("Dear Met", 3.5)


def test_a_stream_that_stalls_ends_at_the_idle_limit():
    simulation = Simulation(routes(), always(Breaks(first_content=0.5, after=inf)))
    call = simulation.request(stream=True)
    simulation.run()
    assert isinstance(call.error, StreamInterrupted)
    assert call.duration == 15.5


def test_a_whole_answer_that_breaks_is_passed_by():
    simulation = Simulation(routes(), in_turn(Breaks(first_content=0.5, after=3.0)))
    call = simulation.request()
    simulation.run()
    assert [attempt.outcome for attempt in call.decision.attempts] == ["failed", "answered"]
    assert call.duration == pytest.approx(3.51)


# What it tells


def test_everything_that_a_sink_would_be_told_is_in_the_result():
    simulation = Simulation(routes(["only"], ["small"]), always(Fails("auth")))
    call = simulation.request(at=5)
    result = simulation.run()
    ends = [event for event in result.events if isinstance(event, RequestFinished)]
    assert [(event.time, event.decision) for event in ends] == [(call.ended, call.decision)]
    assert moves(result.events) == ["backend only open"]
    (shut,) = [status for status in simulation.health() if status.state == "open"]
    assert (shut.scope, shut.name) == ("backend", "only")
    (opened,) = [event for event in result.events if isinstance(event, CircuitChanged)]
    simulation.run(until=opened.time + (opened.open_for or 0.0))
    assert not [status for status in simulation.health() if status.retry_after]


def chance(attempt):
    return Fails("server") if attempt.random.random() < 0.6 else Answers()


def told(seed, units=40):
    """Everything that a run comes to, as text."""
    simulation = Simulation.from_toml(FRIDAY, chance, seed=seed)
    for unit in range(units):
        simulation.request(at=unit * 0.3, task="chat", unit=unit, cancel_after=1.0 if unit % 7 == 0 else None)
    result = simulation.run()
    return repr((result.events, [call.decision for call in result.calls], simulation.health()))


def test_the_same_seed_gives_the_same_run_to_the_last_byte():
    assert told(1) == told(1)
    assert told(1) != told(2)


def test_the_same_seed_gives_the_same_run_in_every_process():
    program = "from tests.core.test_simulation import told; print(told(3, units=5))"
    one, other = (python(program, PYTHONHASHSEED=seed, PYTHONPATH=str(ROOT)) for seed in ("1", "2"))
    assert one.returncode == other.returncode == 0, one.stderr
    assert one.stdout == other.stdout == told(3, units=5) + "\n"


# It goes the way that a router goes


@define(eq=False)
class Real(BackendInvocation, Streaming):
    """A backend that does what the behaviours of a simulation say, without their times."""

    behaviours: list[Behaviour]

    @hookimpl
    async def complete(self, target, request, ctx):
        match self.behaviours.pop(0):
            case Fails(failure=failure) | Breaks(failure=failure):
                raise AttemptFailed(whole(failure))
            case Hangs():
                await for_ever()
        return answer(served_model=target.name)

    @hookimpl
    async def stream(self, target, request, ctx):
        match self.behaviours.pop(0):
            case Answers(text=text):
                yield Chunk(text=str(text), served_model=target.name)
                yield Chunk(finish_reason="stop")
            case Fails(failure=failure):
                raise AttemptFailed(whole(failure))
            case Breaks(failure=failure, text=text):
                yield Chunk(text=str(text), served_model=target.name)
                raise AttemptFailed(whole(failure))
            case Hangs():
                await for_ever()


def whole(failure):
    assert isinstance(failure, Failure)
    return failure


def real(router, face, **known):
    """The decision of a real router."""
    try:
        if face == "complete":
            return decided(router.complete("?", **known))
        if face == "acomplete":
            return decided(asyncio.run(router.acomplete("?", **known)))
        with router.stream("?", **known) as stream:
            list(stream)
        return decided(stream.completion)
    except RouteError as error:
        return decided(error)


def timeless(decision):
    """A decision without its times, and without the usage that nobody had told yet."""
    none = {"started": 0.0, "duration": 0.0, "usage": None}
    attempts = tuple(
        evolve(one, time_to_first_token=None if one.time_to_first_token is None else 0.0, **none)
        for one in decision.attempts
    )
    skipped = tuple(evolve(one, retry_after=one.retry_after and round(one.retry_after)) for one in decision.skipped)
    return evolve(decision, request_id="", duration=0.0, attempts=attempts, skipped=skipped)


KINDS: tuple[Kind, ...] = ("connect", "auth", "server", "bad_response", "not_found", "bad_request", "context_length")
failures = st.one_of(
    st.sampled_from(KINDS).map(lambda kind: Failure.of(kind, f"a {kind} failure")),
    st.sampled_from([None, 30.0]).map(lambda after: Failure.of("rate_limit", "too many", retry_after=after)),
)
behaviours = st.one_of(
    st.just(Answers(after=0.0)),
    st.just(Hangs()),
    failures.map(lambda failure: Fails(failure, after=0.0)),
    failures.map(lambda failure: Breaks(0.0, 0.0, failure)),
)


@proves(11, 13)
@settings(max_examples=30, deadline=None)  # each waits for what hangs
@given(
    script=st.lists(behaviours, max_size=10),
    faces=st.lists(st.sampled_from(["complete", "acomplete", "stream"]), min_size=1, max_size=4),
)
def test_a_router_decides_as_the_simulation_does_and_its_records_replay(script, faces):
    """Property 11: both faces, and the simulator. Property 13: the decisions of a router replay."""
    made = routes(
        ["proxy", "direct"],
        ["small", "large"],
        router={"attempt_timeout": 0.05, "first_token_timeout": 0.05, "deadline": 5},
        plugins={"retries": {"pause": 0.001}},
    )
    acts = [*script, *[Answers(after=0.0)] * 16]
    left, sink = list(acts), Collecting()
    plugins = {**made["plugins"], "proxy": Real(left), "direct": Real(left), "sink": sink}
    with Router(made | {"plugins": plugins}) as router:
        decisions = [real(router, face, unit=number) for number, face in enumerate(faces)]
    assert len(stories(sink.events)) == len(faces)

    for play in (in_turn(*acts), Recorded(decisions)):
        simulation = Simulation(made, play)
        for number, (face, decision) in enumerate(zip(faces, decisions, strict=True)):
            call = simulation.request(unit=number, stream=face == "stream", seed=decision.seed)
            simulation.run()
            assert timeless(call.decision) == timeless(decision)


def test_a_record_that_says_nothing_of_the_way_taken_is_no_script():
    simulation = Simulation(routes(["only"], ["small"]), always(Answers()))
    call = simulation.request()
    simulation.run()
    replay = Simulation(routes(["other"], ["small"]), Recorded([call.decision]))
    replay.request(seed=call.decision.seed)
    with pytest.raises(LookupError, match="goes to other/small, and in the record to only/small"):
        replay.run()


def test_scripts_are_by_target_and_in_turn():
    simulation = Simulation(routes(), by_target({"proxy": Fails("connect"), "direct/small": FAST}))
    call = simulation.request()
    simulation.run()
    assert [str(one.target) for one in call.decision.attempts] == ["proxy/small", "direct/small", "direct/large"]
