"""`router.rollout`: shares and the off switch from code, beside a file that may say something else later."""

import json
import threading

import pytest
from attrs import evolve

from pointsman import ConfigError, RolloutChanged, Router, RouterClosed, UsageError
from tests.core.support import Collecting, Scripted, table

TOML = """
[plugins.proxy]
use = "openai_compatible"
base_url = "http://127.0.0.1:9"

[plugins.direct]
use = "openai_compatible"
base_url = "http://127.0.0.1:9"

[models.m]
on = {{ proxy = "m", direct = "m" }}

[tasks.chat]
models = ["m"]

[paths]
proxied = ["proxy", "direct"]
direct = ["direct"]

[rollout]
control = "direct"
shares = {{ proxied = {share} }}
off = {off}
"""


def config(sink=None, **rollout):
    return table(
        ("m",),
        paths={"proxied": ("proxy", "direct"), "direct": ("direct",), "beta": ("direct", "proxy")},
        tasks={"chat": {"models": ["m"]}, "drafts": {"models": ["m"]}},
        router={"default_task": "chat"},
        rollout={"control": "direct", "shares": {"proxied": 0}} | rollout,
        rollouts={"drafts": {"tasks": ["drafts"], "control": "direct", "shares": {"proxied": 0}}},
        plugins={"told": sink} if sink else None,
    )


@pytest.fixture
def file(tmp_path):
    def write(*, share, off="false"):
        (tmp_path / "pointsman.toml").write_text(TOML.format(share=share, off=off), "utf-8")
        return tmp_path / "pointsman.toml"

    return write


def path(router, task="chat"):
    return router.explain(task=task, unit=7).path


def test_a_share_is_set_for_new_requests_and_other_rollouts_keep_theirs():
    with Router(config()) as router:
        router.rollout.set({"proxied": 100})
        assert (path(router), path(router, "drafts")) == ("proxied", "direct")
        router.rollout.set({"proxied": 100}, "drafts")
        assert path(router, "drafts") == "proxied"
        assert router.rollout.settings().shares == {"proxied": 100}


def test_shares_that_are_not_named_keep_theirs():
    with Router(config(shares={"proxied": 10, "beta": 5})) as router:
        router.rollout.set({"beta": 20})
        assert dict(router.rollout.settings().shares) == {"proxied": 10, "beta": 20}


def test_off_sends_everyone_to_control_and_on_lets_the_shares_hold_again():
    with Router(config(shares={"proxied": 100})) as router:
        router.rollout.off()
        assert (path(router), path(router, "drafts")) == ("direct", "direct")
        assert router.rollout.settings("drafts").off
        router.rollout.on()
        assert path(router) == "proxied"


def test_on_also_ends_what_the_configuration_had_switched_off():
    with Router(config(shares={"proxied": 100}, off=True)) as router:
        router.rollout.on()
        assert path(router) == "proxied"
        router.rollout.reset()
        assert path(router) == "direct"


@pytest.mark.parametrize(
    ("shares", "problem"),
    [
        ({"proxied": 101}, "rollout.shares.proxied: a share is 0 to 100 per cent, not 101"),
        ({"proxied": 60, "beta": 60}, "rollout.shares: the shares add up to 120 per cent, and 100 is all there is"),
        ({"proxied": "10"}, "rollout.shares.proxied: expected a number, got text"),
        ({"proxied": True}, "rollout.shares.proxied: expected a number, got a boolean"),
        ({"prxied": 1}, 'rollout.shares.prxied: no path "prxied"; did you mean "proxied"?'),
    ],
)
def test_shares_that_cannot_be_are_refused_and_nothing_changes(shares, problem):
    with Router(config(shares={"proxied": 100})) as router:
        with pytest.raises(ConfigError, match=r"configuration rollout") as caught:
            router.rollout.set(shares)
        assert problem in str(caught.value)
        assert path(router) == "proxied"
        assert dict(router.rollout.settings().shares) == {"proxied": 100}


def test_a_rollout_that_does_not_exist_is_said_with_the_nearest_name():
    with Router(config()) as router, pytest.raises(UsageError, match=r"no rollout 'draft'; did you mean \"drafts\"\?"):
        router.rollout.off("draft")


def test_a_router_without_rollouts_says_so():
    with Router(table()) as router, pytest.raises(UsageError, match="there is no rollout"):
        router.rollout.set({"proxied": 1})


def test_a_closed_router_changes_nothing():
    router = Router(config())
    router.close()
    with pytest.raises(RouterClosed):
        router.rollout.off()


# Beside the file


def test_a_reload_keeps_what_was_said_while_the_file_says_the_same_of_that_rollout(file):
    with Router.from_toml(file(share=0), watch=False) as router:
        router.rollout.set({"proxied": 100})
        router.reload()
        assert path(router) == "proxied"


def test_the_last_word_is_the_files_when_it_says_something_else(file):
    with Router.from_toml(file(share=0), watch=False) as router:
        router.rollout.set({"proxied": 100})
        file(share=0, off="true")
        router.reload()
        assert path(router) == "direct"
        assert router.rollout.settings().shares == {"proxied": 0}


def test_reset_lets_the_file_hold_again(file):
    with Router.from_toml(file(share=100), watch=False) as router:
        router.rollout.set({"proxied": 0})
        router.rollout.reset()
        assert path(router) == "proxied"


# Who is told


def test_sinks_are_told_of_every_change_once():
    sink = Collecting()
    with Router(config(sink)) as router:
        router.rollout.set({"proxied": 25})
        router.rollout.set({"proxied": 25})
        router.rollout.off("drafts")
        assert router.flush()
    assert [evolve(one, time=0.0) for one in sink.rollouts] == [
        RolloutChanged(time=0.0, rollout="default", control="direct", shares={"proxied": 25}, off=False),
        RolloutChanged(time=0.0, rollout="drafts", control="direct", shares={"proxied": 0}, off=True),
    ]


def test_a_changed_file_tells_which_rollout_changed(file, capsys):
    written = file(share=0)
    written.write_text(
        written.read_text() + '[plugins.metrics_stdout]\nformat = "json"\nevents = ["rollout_changed"]\n'
    )
    with Router.from_toml(written, watch=False) as router:
        written.write_text(written.read_text().replace("proxied = 0", "proxied = 30"))
        router.reload()
        router.reload()
        assert router.flush()
    (line,) = capsys.readouterr().out.splitlines()
    told = json.loads(line)
    assert (told["rollout"], told["shares"], told["off"]) == ("default", {"proxied": 30}, False)


def test_threads_that_set_at_once_lose_nothing():
    with Router(config(shares={"proxied": 1, "beta": 1})) as router:
        threads = [
            threading.Thread(target=lambda name=name: [router.rollout.set({name: share}) for share in range(2, 41)])
            for name in ("proxied", "beta")
        ]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert dict(router.rollout.settings().shares) == {"proxied": 40, "beta": 40}


def test_plugins_keep_their_state_when_a_share_is_set():
    backend = Scripted()
    with Router(table(("m",), {"proxy": backend}, rollout={"control": "only"})) as router:
        router.complete("x")
        before = router.snapshot.plugins
        router.rollout.off()
        router.complete("x")
        assert router.snapshot.plugins is before
    assert len(backend.calls) == 2
