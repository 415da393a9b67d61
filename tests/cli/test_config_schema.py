"""`pointsman config schema`: editors accept what is right and mark what is wrong."""

import json
import tomllib
from pathlib import Path
from typing import Any, cast

import pytest
from attrs import fields
from jsonschema import Draft7Validator

from pointsman.cli.config.schema import schema
from pointsman.config import Config
from pointsman.plugins import classes
from tests.cli.conftest import CONFIG, Desk

ROOT = Path(__file__).parents[2]
WRONG = sorted((Path(__file__).parent / "wrong").glob("*.toml"))

BEYOND_A_SCHEMA = {
    "07_key_is_not_set",
    "10_unknown_model",
    "11_unknown_backend",
    "12_unknown_path",
    "14_order_of_another_plugin",
    "18_paths_without_a_rollout",
    "19_model_named_twice",
    "21_no_address",
    "22_backend_switched_off",
    "23_task_without_a_way",
}
"""Names that another part of the file has to have, and what a plugin's own code says: `pointsman check` knows."""

NO_TOML = {"16_not_toml", "17_not_toml_beside_a_key", "24_twice"}


@pytest.fixture(scope="module")
def validator() -> Draft7Validator:
    made = json.loads(json.dumps(schema(classes()[0])))
    Draft7Validator.check_schema(made)
    return Draft7Validator(made)


def faults(validator: Draft7Validator, text: str) -> list[Any]:
    return list(validator.iter_errors(tomllib.loads(text)))


def test_the_friday_example_is_valid(validator: Draft7Validator) -> None:
    assert faults(validator, (ROOT / "examples" / "friday" / "pointsman.toml").read_text("utf-8")) == []


@pytest.mark.parametrize("file", WRONG, ids=lambda file: file.stem)
def test_each_wrong_one_is_not(validator: Draft7Validator, file: Path) -> None:
    text = file.read_text("utf-8")
    if file.stem in NO_TOML:
        with pytest.raises(tomllib.TOMLDecodeError):
            tomllib.loads(text)
    else:
        assert bool(faults(validator, text)) is (file.stem not in BEYOND_A_SCHEMA)


@pytest.mark.parametrize(
    "text",
    [
        '[plugins.metrics_stdout]\n[plugins.audit]\nuse = "metrics_stdout"\nformat = "json"\n',
        '[plugins.breaker]\nenabled = false\n[plugins.litellm_backend]\nuse = "litellm_backend"\n',
        '[plugins.breaker]\nuse = "metrics_stdout"\nformat = "json"\n',
        '[plugins.litellm_backend]\nheaders = { a = "b", c = { env = "D" } }\nconnect_timeout = 3\n',
        "[models.a]\non = {}\n[tasks.b]\nmodels = []\nlast_resort = 'sorry'\n",
        "",
    ],
)
def test_what_is_right_is_valid(validator: Draft7Validator, text: str) -> None:
    assert faults(validator, text) == []


@pytest.mark.parametrize(
    "text",
    [
        '[plugins.audit]\nuse = "metrics_stdout"\nformat = "yaml"\n',
        '[plugins.audit]\nuse = "metrics_stdot"\n',
        '[plugins.breaker]\nuse = "metrics_stdout"\nopen_for = "5s"\n',
        '[plugins.litellm_backend]\napi_key = { env = "A", file = "b" }\n',
        "[plugins.openai_compatible]\n",
        "[plugins]\nmetrics_stdout = true\n",
        '[rollout]\nshares = { a = "10 %" }\ncontrol = "a"\n',
    ],
)
def test_what_is_wrong_is_not_valid(validator: Draft7Validator, text: str) -> None:
    assert faults(validator, text)


def test_every_section_and_setting_is_described(validator: Draft7Validator) -> None:
    sections = cast("Any", validator.schema)["properties"]
    assert sections.keys() == {one.name for one in fields(Config)}
    deadline = sections["router"]["properties"]["deadline"]
    assert deadline["description"].startswith("Over everything:")
    assert deadline["default"] == 60
    assert sections["plugins"]["properties"]["litellm_backend"]["description"].startswith("A LiteLLM proxy.")


def test_the_command_prints_it_and_says_what_is_left_out(desk: Desk) -> None:
    desk.site.install("torn", offers={"torn": "no_such_module:Torn"})
    ran = desk.run("config", "schema")
    printed = json.loads(ran.stdout)
    assert "left out: torn: torn 1.0 is broken" in ran.stderr
    properties = printed["properties"]["plugins"]["properties"]
    assert "echo" in properties
    assert "torn" not in properties
    assert "on_answer" not in properties["echo"]["properties"]
    assert not list(Draft7Validator(printed).iter_errors(tomllib.loads(CONFIG)))
    assert desk.run("config", "schema", "--json").stdout == ran.stdout
