"""Who is next after a failure, by what the failure blames."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.errors import (
    DEFAULTS,
    AllTargetsFailed,
    AttemptFailed,
    BadRequest,
    ContentPolicy,
    ContextLength,
    PluginError,
    RouteError,
    StreamInterrupted,
)
from pointsman.loading import from_config
from pointsman.plan import Attempt, Committed, Failed, Relay, TimedOut, plan
from pointsman.policy.fallback import BACKEND_IN_DOUBT
from pointsman.verdicts import Next, Stop
from tests.core.support import Clock, Deciding, Scripted, answer, chat, drive, failure, recorder, table

BACKENDS = ("proxy", "direct")


def config(models=("small", "large"), backends=BACKENDS, *, quotas=None, contexts=None, **sections):
    made = table(models, {name: Scripted() for name in backends}, **sections)
    for name, model in made["models"].items():
        model |= {"quota": (quotas or {}).get(name), "context": (contexts or {}).get(name)}
        made["models"][name] = {key: value for key, value in model.items() if value is not None}
    return made


# The failure table

KINDS = {
    "connect": ("backend", "counts"),
    "auth": ("backend", "opens"),
    "payment": ("backend", "opens"),
    "rate_limit": ("quota", "opens"),
    "not_found": ("model", "opens"),
    "server": ("model", "counts"),
    "timeout": ("model", "counts"),
    "bad_response": ("model", "counts"),
    "bad_request": ("request", "neutral"),
    "context_length": ("request", "neutral"),
    "content_policy": ("request", "neutral"),
    "interrupted": ("model", "counts"),
    "local_limit": ("nobody", "neutral"),
    "plugin": ("backend", "neutral"),
}

NEXT = {
    "no connection": (failure("connect"), "direct/small"),
    "the key is refused": (failure("auth"), "direct/small"),
    "the key's budget is spent": (failure("payment"), "direct/small"),
    "a provider's key is refused": (failure("auth", blames="model"), "proxy/large"),
    "a provider's budget is spent": (failure("payment", blames="model"), "proxy/large"),
    "the account's rate limit": (failure("rate_limit"), "direct/small"),
    "a provider's rate limit": (failure("rate_limit", blames="model"), "proxy/large"),
    "the model is gone": (failure("not_found"), "proxy/large"),
    "nothing serves these parameters": (failure("not_found", breaker="neutral"), "proxy/large"),
    "a server error": (failure("server"), "proxy/large"),
    "a load balancer's page": (failure("server", blames="backend"), "direct/small"),
    "no answer in time": (TimedOut(), "proxy/large"),
    "the backend's own time limit": (failure("timeout"), "proxy/large"),
    "an answer that is none": (failure("bad_response"), "proxy/large"),
    "a provider refuses the request": (failure("bad_request", blames="model"), "proxy/large"),
    "our own limit is full": (failure("local_limit"), "proxy/large"),
    "a broken plugin": (failure("plugin"), "direct/small"),
}

RAISES = {
    "a bad request": (failure("bad_request"), BadRequest),
    "a prompt that is too long for all": (failure("context_length"), ContextLength),
    "a moderation": (failure("content_policy"), ContentPolicy),
}


def test_every_kind_has_the_tables_blame_and_breaker_effect():
    assert KINDS == DEFAULTS


@pytest.mark.parametrize(("came", "following"), NEXT.values(), ids=NEXT)
def test_what_a_failure_blames_decides_who_is_next(came, following):
    run = drive(config(), [came])
    assert run.tried == ["proxy/small", following]
    assert run.decision.served is not None
    assert str(run.decision.served) == following


@pytest.mark.parametrize(("came", "error"), RAISES.values(), ids=RAISES)
def test_a_failure_that_blames_the_request_is_raised_at_once(came, error):
    run = drive(config(), [came])
    assert run.tried == ["proxy/small"]
    assert type(run.error) is error
    assert isinstance(run.error, BadRequest)
    assert isinstance(run.error.__cause__, AttemptFailed)
    assert run.error.__cause__.failure is came


def test_when_everything_fails_the_error_says_so_with_the_last_failure_as_its_cause():
    last = failure("server", status=503, retry_after=7.0)
    run = drive(config(), [failure("connect"), failure("bad_response"), last])
    assert run.tried == ["proxy/small", "direct/small", "direct/large"]
    error = run.error
    assert type(error) is AllTargetsFailed
    assert isinstance(error.__cause__, AttemptFailed)
    assert error.__cause__.failure is last
    assert error.retry_after == 7.0
    assert len(error.attempts) == 3
    assert "direct/large" in str(error)
    assert "a server failure" in str(error)


def test_the_nearest_time_to_try_again_is_told():
    run = drive(config(), [failure("rate_limit", retry_after=30.0), failure("server", retry_after=9.0)] * 2)
    assert isinstance(run.error, RouteError)
    assert run.error.retry_after == 9.0


def test_a_plugin_fault_on_every_target_names_the_last_plugin():
    run = drive(config(), [failure("plugin")] * 4)
    assert run.tried == ["proxy/small", "direct/small"]
    assert isinstance(run.error, PluginError)
    assert run.error.plugin == "direct"


def test_anything_after_the_first_content_is_interrupted_and_nothing_is_tried_in_its_place():
    clock = Clock()
    steps = plan(recorder(from_config(config()), chat(), clock), 60)
    assert isinstance(next(steps), Attempt)
    clock.now += 2
    assert isinstance(steps.send(Committed(clock.now)), Relay)
    with pytest.raises(StreamInterrupted) as raised:
        steps.send(Failed(failure("server"), partial=answer("half an ans")))
    error = raised.value
    assert error.partial is not None
    assert error.partial.text == "half an ans"
    (attempt,) = error.attempts
    assert attempt.time_to_first_token == 2
    assert attempt.failure is not None
    assert (attempt.failure.kind, attempt.failure.blames) == ("interrupted", "model")


# A spent quota


def test_a_spent_quota_rules_out_every_model_that_shares_it_on_every_backend():
    quotas = {"small": "free", "large": "free"}
    run = drive(config(("small", "large", "paid"), quotas=quotas), [failure("rate_limit")])
    assert run.tried == ["proxy/small", "proxy/paid"]


def test_a_quota_that_nobody_declared_is_the_backends_own_account():
    quotas = {"large": "free"}
    run = drive(config(("small", "large", "paid"), quotas=quotas), [failure("rate_limit")])
    assert run.tried == ["proxy/small", "proxy/large"]
    run = drive(config(("large", "small", "paid"), quotas=quotas), [failure("rate_limit")] * 3)
    assert run.tried == ["proxy/large", "proxy/small", "direct/small"]


def test_a_quota_and_a_backend_with_the_same_name_are_two_things():
    run = drive(config(quotas={"large": "proxy"}), [failure("rate_limit")])
    assert run.tried == ["proxy/small", "proxy/large"]


# A prompt that is too long


def test_a_prompt_that_is_too_long_goes_only_to_a_larger_context():
    contexts = {"small": 8_000, "same": 8_000, "tiny": 4_000, "large": 128_000}
    models = ("small", "same", "tiny", "unknown", "large")
    run = drive(config(models, contexts=contexts), [failure("context_length")])
    assert run.tried == ["proxy/small", "proxy/large"]
    assert run.decision.outcome == "answered"


def test_a_prompt_too_long_for_the_largest_is_raised():
    contexts = {"small": 8_000, "large": 128_000}
    run = drive(config(contexts=contexts), [failure("context_length"), failure("context_length")])
    assert run.tried == ["proxy/small", "proxy/large"]
    assert type(run.error) is ContextLength


def test_a_prompt_that_was_too_long_once_stays_so_after_another_failure():
    contexts = {"small": 8_000, "large": 128_000}
    run = drive(config(contexts=contexts), [failure("context_length"), failure("connect")])
    assert run.tried == ["proxy/small", "proxy/large", "direct/large"]


# Skip a backend in doubt, keep the last attempt, stay within the budget

MANY = ("one", "two", "three", "four", "five")


@pytest.mark.parametrize("kind", sorted(BACKEND_IN_DOUBT))
def test_two_failures_on_different_models_put_the_backend_in_doubt(kind):
    run = drive(config(MANY), [failure(kind), failure(kind)])
    assert run.tried == ["proxy/one", "proxy/two", "direct/one"]


def test_the_kinds_that_put_a_backend_in_doubt_add_up():
    run = drive(config(MANY), [failure("server"), failure("not_found"), failure("bad_response")])
    assert run.tried == ["proxy/one", "proxy/two", "proxy/three", "direct/one"]


def test_other_kinds_do_not_put_a_backend_in_doubt():
    run = drive(config(MANY, router={"max_attempts": 5}), [failure("not_found")] * 3)
    assert run.tried == ["proxy/one", "proxy/two", "proxy/three", "proxy/four"]


def test_how_many_failures_put_a_backend_in_doubt_is_a_setting():
    made = config(MANY, plugins={"fallback": {"skip_backend_after": 3}}, router={"max_attempts": 9})
    run = drive(made, [failure("server")] * 3)
    assert run.tried == ["proxy/one", "proxy/two", "proxy/three", "direct/one"]


def test_the_last_attempt_is_kept_for_a_backend_not_yet_tried():
    run = drive(config(MANY, router={"max_attempts": 3}), [failure("not_found")] * 9)
    assert run.tried == ["proxy/one", "proxy/two", "direct/one"]
    assert "not yet tried" in run.decision.attempts[-1].why


def test_the_last_attempt_goes_on_where_it_was_when_every_backend_was_tried():
    run = drive(config(MANY, router={"max_attempts": 3}), [failure("connect"), failure("not_found")])
    assert run.tried == ["proxy/one", "direct/one", "direct/two"]


@pytest.mark.parametrize("budget", [1, 2, 3, 4, 7])
def test_no_more_attempts_are_made_than_the_budget_has(budget):
    run = drive(config(MANY, ("a", "b", "c"), router={"max_attempts": budget}), [failure("not_found")] * 20)
    assert len(run.tried) == budget
    assert isinstance(run.error, AllTargetsFailed)
    assert f"the budget of {budget} attempts is spent" in str(run.error)


def test_every_backend_is_reached_within_the_default_budget():
    run = drive(config(MANY), lambda step: failure("server") if step.target.backend == "proxy" else answer())
    assert run.decision.served is not None
    assert run.decision.served.backend == "direct"


# What must always hold

failures = st.sampled_from([came for came, _ in (*NEXT.values(), *RAISES.values()) if came != TimedOut()])
quotas = st.dictionaries(st.sampled_from(MANY), st.sampled_from(["free", "paid"]))
contexts = st.dictionaries(st.sampled_from(MANY), st.sampled_from([4_000, 8_000, 128_000]))


@given(st.lists(failures, min_size=12, max_size=12), quotas, contexts, st.integers(1, 12))
def test_no_attempt_goes_to_a_target_that_an_earlier_failure_rules_out(script, quotas, contexts, budget):
    made = config(MANY, ("a", "b", "c"), quotas=quotas, contexts=contexts, router={"max_attempts": budget})
    run = drive(made, script)
    attempts = run.decision.attempts
    assert len({attempt.target for attempt in attempts}) == len(attempts)
    for place, earlier in enumerate(attempts):
        for later in attempts[place + 1 :]:
            assert may_follow(earlier, later.target)
    if len(attempts) == budget > 1:
        *before, last = attempts
        tried = {attempt.target.backend for attempt in before}
        untried = [
            target
            for target in run.decision.candidates
            if target.backend not in tried and all(may_follow(one, target) for one in before)
        ]
        assert not untried or last.target == untried[0]


def may_follow(earlier, target):
    """Whether `target` may be tried after a failed attempt, by this failure alone."""
    failed, came = earlier.target, earlier.failure
    if came.kind == "context_length":
        return bool(failed.context and target.context and target.context > failed.context)
    match came.blames:
        case "backend":
            return target.backend != failed.backend
        case "model" | "nobody":
            return target != failed
        case "quota" if failed.quota:
            return target.quota != failed.quota
        case "quota":
            return target.backend != failed.backend or target.quota is not None
    return False


# Other policies


def test_a_users_policy_is_asked_before_the_built_in_one():
    stubborn = Deciding(lambda request, failure, state: Next(state.candidates[-1], why="the last, always"))
    run = drive(config(plugins={"stubborn": stubborn}), [failure("connect")])
    assert run.tried == ["proxy/small", "direct/large"]
    assert run.decision.attempts[-1].why == "the last, always"


def test_a_policy_without_an_opinion_passes_the_question_on():
    silent = Deciding(lambda request, failure, state: None)
    run = drive(config(plugins={"silent": silent}), [failure("connect")])
    assert run.tried == ["proxy/small", "direct/small"]


def test_a_policy_can_stop_and_says_why():
    stops = Deciding(lambda request, failure, state: Stop("it is Friday"))
    run = drive(config(plugins={"stops": stops}), [failure("connect")])
    assert run.tried == ["proxy/small"]
    assert "it is Friday" in str(run.error)


def test_without_any_policy_the_first_failure_ends_the_request():
    run = drive(config(plugins={"fallback": {"enabled": False}}), [failure("server")])
    assert run.tried == ["proxy/small"]
    assert "no other target could serve this" in str(run.error)


def test_a_policy_is_told_what_was_possible_tried_and_left():
    told = []

    def decide(request, failure, state):
        told.append((failure.kind, len(state.attempts), state.attempts_left, state.time_left, len(state.candidates)))

    run = drive(
        config(plugins={"watching": Deciding(decide)}),
        [(3.0, failure("server")), (2.0, failure("connect"))],
        deadline=50,
    )
    assert run.answer is not None
    assert told == [("server", 1, 3, 47.0, 4), ("connect", 2, 2, 45.0, 4)]
