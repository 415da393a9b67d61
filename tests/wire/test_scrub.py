"""A server's own words, without anything of ours in them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointsman.chat import Request
from pointsman_openai_compatible.scrub import CUT, LONGEST, Scrubber

KEY = "or-v1-canary-key-0123456789"
PROMPT = 'Svar Mette Hansen på "mandag"\nkl. 8, tak.'


def scrubber(*contents: object, **more: object) -> Scrubber:
    messages = tuple({"role": "user", "content": content} for content in contents or (PROMPT,))
    return Scrubber(Request(messages=messages, task="chat", **more), [KEY])  # pyright: ignore[reportArgumentType] - any content


def test_what_is_the_servers_own_stays() -> None:
    text = "vendor/model-x is not a valid model ID (user, system, assistant)"
    assert scrubber()(text) == text


def test_a_quoted_prompt_is_cut() -> None:
    assert scrubber()(f"Invalid input: {PROMPT} (code 3)") == f"Invalid input: {CUT} (code 3)"


@pytest.mark.parametrize(
    "quoted",
    [
        json.dumps(PROMPT),
        json.dumps(PROMPT, ensure_ascii=False),
        json.dumps(json.dumps(PROMPT)),
        repr(PROMPT),
        "Svar Mette Hansen p&aring; &quot;mandag&quot; kl. 8",
        PROMPT[3:20],
        PROMPT.replace("\n", "  "),
        PROMPT[:25] + "...",
    ],
    ids=["json", "utf-8 json", "json in json", "repr", "html", "a part", "other blanks", "shortened"],
)
def test_a_quotation_is_found_however_it_is_written(quoted: str) -> None:
    scrubbed = scrubber()(f"bad request: {quoted}")
    assert scrubbed is not None
    assert "Mette" not in scrubbed
    assert "Hansen" not in scrubbed
    assert scrubbed.startswith("bad request:")


def test_a_short_message_is_cut_where_it_stands_whole() -> None:
    assert scrubber("Mette")('name "Mette" is not allowed') == f'name "{CUT}" is not allowed'


def test_parts_and_tool_results_are_messages_too() -> None:
    scrub = scrubber([{"type": "text", "text": "Ring til Mette"}, {"type": "text", "text": "Nygade"}])
    assert scrub("got 'Ring til Mette' and 'Nygade'") == f"got '{CUT}' and '{CUT}'"


def test_parameters_are_cut_however_deep() -> None:
    parameters = {"tools": [{"function": {"description": "the secret customer list"}}]}
    assert scrubber(parameters=parameters)("bad tool: the secret customer list") == f"bad tool: {CUT}"


def test_the_last_word_over_the_body_is_ours_too() -> None:
    assert scrubber(extra_body={"note": "the secret customer list"})("got the secret customer list") == f"got {CUT}"


@pytest.mark.parametrize(
    "key",
    [
        KEY,
        f"Bearer {KEY}",
        "sk-stub",
        "sk-proj-abc***xyz",
        "Bearer abc.def",
        "AIzaSyA1234567890",
        "gsk_abcdef123",
        "eyJhbGciOiJIUzI1NiJ9",
        "7b55bcbe6dbbb5da5391f0690c6e8f11",
        "https://user:password@host.example/v1?key=1",
    ],
)
def test_keys_and_what_looks_like_one_are_cut(key: str) -> None:
    assert scrubber()(f"Incorrect API key provided: {key}") == f"Incorrect API key provided: {CUT}"


@pytest.mark.parametrize("quoted", ["correct horse battery", "battery staple", "horse battery stap***"])
def test_a_part_of_a_key_is_cut(quoted: str) -> None:
    scrub = Scrubber(Request(messages=(), task="chat"), ["correct horse battery staple"])
    scrubbed = scrub(f"no such key: {quoted}")
    assert scrubbed is not None
    assert "batte" not in scrubbed


def test_a_key_that_stands_where_reading_ends_is_cut() -> None:
    scrub = Scrubber(Request(messages=(), task="chat"), ["correct-horse-battery-staple"])
    assert scrub("https://x.example/" + "y" * 960 + " correct-horse-battery-staple") is None


def test_the_text_is_one_bounded_line_that_no_terminal_obeys() -> None:
    scrubbed = scrubber()("one\r\ntwo\x1b[31m \u202e" + "word " * 400)
    assert scrubbed is not None
    assert scrubbed.startswith("one two [31m word")
    assert len(scrubbed) == LONGEST
    assert scrubbed.isprintable()


@pytest.mark.parametrize("text", ["", "   ", PROMPT, KEY])
def test_nothing_left_is_none(text: str) -> None:
    assert scrubber()(text) is None


def test_a_request_of_megabytes_is_searched_quickly() -> None:
    big = "".join(chr(97 + n % 23) + chr(97 + n % 19) for n in range(4_000_000))
    assert scrubber(big)("Provider returned an error that has nothing of it") is not None


@given(st.text(min_size=16, max_size=60), st.text(max_size=20), st.integers(0, 3))
def test_no_long_run_of_the_prompt_survives(prompt: str, before: str, layers: int) -> None:
    quoted = prompt
    for _ in range(layers):
        quoted = json.dumps(quoted)
    scrubbed = scrubber(prompt)(f"{before} {quoted}") or ""
    plain = " ".join("".join(c if c.isprintable() else " " for c in prompt).split())
    if "\\" in prompt or "&" in prompt:
        return  # Its own escapes are undone as if the server had put them on: only the quotation is changed by it.
    for start in range(len(plain) - 12):
        assert plain[start : start + 12] not in scrubbed


@given(st.text(), st.text())
def test_nothing_that_a_server_writes_breaks_it(prompt: str, text: str) -> None:
    scrubbed = scrubber(prompt)(text)
    assert scrubbed is None or (0 < len(scrubbed) <= LONGEST and scrubbed.isprintable())
