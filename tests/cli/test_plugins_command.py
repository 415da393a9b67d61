"""`pointsman plugins`: what is active, available, switched off or broken, and what each can be told."""

import sys

import pytest

from tests.cli.conftest import Desk


def more(desk: Desk, text: str) -> None:
    desk.configure((desk.folder / "pointsman.toml").read_text("utf-8") + text)


def states(desk: Desk, status: int = 0) -> dict[str, str]:
    return {one["name"]: one["state"] for one in desk.document("plugins", status=status)}


def test_each_state_is_told(desk: Desk) -> None:
    desk.site.install("torn", offers={"torn": "no_such_module:Torn"})
    more(desk, "[plugins.breaker]\nenabled = false\n[plugins.nowhere]\n[plugins.torn]\n")
    told = states(desk, status=1)
    assert told["tasks"] == told["echo"] == told["second"] == "active"
    assert told["breaker"] == "switched off"
    assert told["nowhere"] == told["torn"] == "broken"
    assert told["quiet"] == told["metrics_stdout"] == told["limits"] == "available"


def test_the_list_says_where_each_comes_from_and_what_it_does(desk: Desk) -> None:
    said = [line.split() for line in desk.run("plugins").stdout.splitlines()]
    assert ["echo", "acme-plugins", "2.1", "complete"] in said
    assert ["second", "acme-plugins", "2.1,", "as", "echo", "complete"] in said
    assert ["retries", "pointsman", "itself", "decide_fallback,", "admit"] in said
    assert ["quiet", "acme-plugins", "2.1"] in said


def test_a_broken_one_says_why(desk: Desk) -> None:
    desk.site.install("torn", "0.3", offers={"torn": "no_such_module:Torn"})
    more(desk, "[plugins.torn]\n")
    said = desk.run("plugins", status=1).stdout
    assert "  torn  torn 0.3  no_such_module:Torn cannot be imported: ModuleNotFoundError" in said


def test_two_distributions_that_offer_one_name_are_both_named(desk: Desk) -> None:
    desk.site.install("rival", "9", offers={"echo": "rival:Echo"})
    (echo,) = [one for one in desk.document("plugins", status=1) if one["name"] == "echo"]
    assert (echo["state"], echo["distribution"]) == ("broken", "acme-plugins 2.1 and rival 9")


def test_the_code_of_what_is_only_available_is_not_run(desk: Desk) -> None:
    desk.site.install("loud", offers={"loud": "loud_plugin:Loud"}, modules={"loud_plugin": "raise SystemExit(7)\n"})
    assert states(desk)["loud"] == "available"
    assert "loud_plugin" not in sys.modules
    assert "SystemExit" in desk.run("plugins", "loud", status=1).stdout


def test_a_plugin_tells_its_settings(desk: Desk) -> None:
    said = desk.run("plugins", "echo").stdout
    assert said.startswith("echo, active\n  from acme-plugins 2.1\n  A backend with a setting of every kind.\n")
    assert '  timeout  duration, default "5s"\n' in said
    assert "  api_key  secret, not set by default\n" in said
    assert '  region  "eu" or "us", default "eu"\n' in said
    assert "  limit  whole number or text, default 10\n" in said
    assert "  on_answer  from Python only, not set by default\n" in said


def test_a_setting_is_told_with_its_docstring_and_an_inherited_one_too(desk: Desk) -> None:
    (told,) = desk.document("plugins", "litellm_backend")
    settings = {one["name"]: one for one in told["settings"]}
    assert settings["base_url"]["about"] == "The proxy's address, with or without `/v1`."
    assert settings["max_event"]["about"] == "Bytes of one event of a stream. A larger one is a failure."
    assert (settings["inner_fallbacks"]["default"], settings["inner_fallbacks"]["required"]) == (False, False)
    (told,) = desk.document("plugins", "openai_compatible")
    assert told["settings"][0]["required"] is True


def test_it_works_without_a_configuration_and_with_a_wrong_one(desk: Desk) -> None:
    more(desk, "[rotuer]\nx = 1\n")
    assert states(desk)["echo"] == "active"
    (desk.folder / "pointsman.toml").unlink()
    ran = desk.run("plugins")
    assert "pointsman.toml does not exist" in ran.stderr
    assert "echo" in ran.stdout.split("available")[1]


@pytest.mark.parametrize("name", ["ecko", "zzz"])
def test_an_unknown_name_is_wrong_use(desk: Desk, name: str) -> None:
    assert f'no plugin "{name}" is installed or configured; ' in desk.run("plugins", name, status=2).stderr
