"""The way forward and the way back: everyone on the proxy, nobody on it, and the same users as before."""

import pytest

from pointsman.testing import ScriptedServer
from tests.acceptance.calls import CALLS, PATHS
from tests.acceptance.friday import Friday, all_untroubled_but, stories, untroubled
from tests.acceptance.openrouter import account

pytestmark = pytest.mark.litellm


@pytest.mark.parametrize("rollback", [{"shares": {"proxied": 0}}, {"off": True}], ids=["share 0", "off"])
def test_after_a_rollback_nothing_reaches_the_proxy(friday: Friday, rollback: dict[str, object]) -> None:
    friday.play(account())
    with friday.router() as router:
        assert stories(friday.answer_all(router)) == all_untroubled_but({})
    friday.play(account())
    # It has no answers: a request that reached it would fail the test twice.
    with ScriptedServer() as instead_of_the_proxy:
        with friday.router(proxy_url=instead_of_the_proxy.url, rollout=rollback) as router:
            replies = friday.answer_all(router)
        assert instead_of_the_proxy.requests == []
    assert stories(replies) == {call.number: untroubled(call, "direct") for call in CALLS}
    friday.check(replies, paths=dict.fromkeys(PATHS, "direct"))


def test_with_everyone_on_the_proxy_nothing_goes_past_it(friday: Friday) -> None:
    friday.play(account())
    with friday.router(rollout={"shares": {"proxied": 100}}) as router:
        replies = friday.answer_all(router)
    friday.check(replies, paths=dict.fromkeys(PATHS, "proxied"))
    assert stories(replies) == {call.number: untroubled(call, "proxied") for call in CALLS}
    assert friday.openrouter.requests == []


def test_after_a_rollback_and_back_the_same_users_take_the_proxy(friday: Friday) -> None:
    for share, paths in ((50, PATHS), (0, dict.fromkeys(PATHS, "direct")), (50, PATHS)):
        friday.play(account())
        with friday.router(rollout={"shares": {"proxied": share}}) as router:
            friday.check(friday.answer_all(router), paths=paths)
