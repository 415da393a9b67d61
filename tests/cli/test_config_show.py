"""`pointsman config show`: everything that takes effect, as TOML that means the same, and where it comes from."""

import tomllib

from pointsman import Router
from tests.cli.conftest import Desk


def lines(desk: Desk, *words: str) -> list[str]:
    return [" ".join(line.split()) for line in desk.run("config", "show", *words).stdout.splitlines()]


def test_each_value_has_its_line_or_is_a_default(desk: Desk) -> None:
    said = lines(desk, "--origin")
    assert 'default_task = "chat" # pointsman.toml:26' in said
    assert 'deadline = "60s" # default' in said
    assert 'on = { echo = "wire/small", second = "small" } # pointsman.toml:8' in said
    assert "# context: not set" in said
    assert 'use = "echo" # pointsman.toml:5' in said
    assert 'both = ["echo", "second"] # pointsman.toml:18' in said
    assert "failures_in_a_row = 5 # default" in said


def test_a_secret_is_its_place_whether_it_is_set_or_not(desk: Desk, monkeypatch) -> None:
    for value in (None, "sk-canary"):
        if value:
            monkeypatch.setenv("ACME_KEY", value)
        assert 'api_key = { env = "ACME_KEY" } # pointsman.toml:2' in lines(desk, "--origin")
        told = desk.document("config", "show", "--origin")
        assert told["plugins"]["echo"]["api_key"] == {"value": {"env": "ACME_KEY"}, "origin": "pointsman.toml:2"}


def test_what_its_class_hides_is_hidden_and_so_is_a_key_in_the_place_of_its_name(desk: Desk) -> None:
    desk.configure(
        '[plugins.openai_compatible]\nbase_url = "http://localhost:1/v1"\napi_key = { env = "sk-canary" }\n'
        'headers = { x-key = "canary" }\nextra_body = { user = "canary" }\n'
    )
    said = lines(desk, "--origin")
    assert 'api_key = { env = "..." } # pointsman.toml:3' in said
    assert "# headers: not shown, for it may hold a key # pointsman.toml:4" in said
    assert desk.document("config", "show")["plugins"]["openai_compatible"]["extra_body"] is None


def test_what_it_shows_is_a_configuration_that_means_the_same(desk: Desk, monkeypatch) -> None:
    monkeypatch.setenv("ACME_KEY", "sk-canary")
    file = desk.folder / "pointsman.toml"
    desk.configure(
        file.read_text("utf-8").replace("[router]", '[router]\ndeadline = "1m"\nreserve = 0.1234567')
        + '[plugins.breaker]\nenabled = false\n[tasks."v 1"]\nmodels = ["small"]\nwhy = "a\\"b\\\\c\\u007f\\tå"\n'
        + '[rollouts.drafts]\ntasks = ["v 1"]\ncontrol = "one"\nunits = { both = [7] }\n'
        + '[order]\nselect_model = ["rollout", "tasks"]\n'
    )
    shown = tomllib.loads(desk.run("config", "show", "--origin").stdout)
    with Router.from_toml(file) as first, Router(shown) as second:
        assert second.snapshot.config.router == first.snapshot.config.router
        assert second.snapshot.catalog == first.snapshot.catalog
        assert second.snapshot.config.tasks == first.snapshot.config.tasks
        assert second.snapshot.config.all_rollouts == first.snapshot.config.all_rollouts
        assert second.snapshot.config.order == first.snapshot.config.order
        assert [one.name for one in second.snapshot.plugins] == [one.name for one in first.snapshot.plugins]
        assert first.explain(unit=1).candidates == second.explain(unit=1).candidates


def test_without_origin_there_are_only_the_values(desk: Desk) -> None:
    assert 'default_task = "chat"' in lines(desk)
    assert desk.document("config", "show")["router"]["default_task"] == "chat"
