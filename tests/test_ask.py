"""`pointsman ask`: the answer on stdout, its story on stderr, and an exit status for each ending."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import pytest
from attrs import frozen

from pointsman.testing import (
    SSE,
    Answer,
    Drop,
    Hang,
    ReceivedRequest,
    Reply,
    ScriptedServer,
    litellm_answer,
    litellm_error,
    litellm_stream,
    openrouter_answer,
    openrouter_error,
    openrouter_stream,
    openrouter_usage,
)
from pointsman.testing.replies import sse_event
from tests.support import warm
from tests.support.command import Ran, arguments, environment, onto_a_full_disk, pointsman
from tests.support.site import Site
from tests.support.wires import event

PIECES = ["Kære ", "Mette Hansen.\n", "Vi kan komme ", "på fredag."]
TEXT = "".join(PIECES)

KEYS = {"LITELLM_MASTER_KEY": "sk-canary-1111", "OPENROUTER_API_KEY": "sk-canary-2222"}

PROXIED, DIRECT = ("--unit", "12"), ("--unit", "7")
"""Who the rollout puts on which path."""

BOTH_WAYS = pytest.mark.parametrize("way", ["--stream", "--no-stream"])

CONFIG = """
[plugins.litellm_backend]
base_url = "{proxy}"
api_key = {{ env = "LITELLM_MASTER_KEY" }}

[plugins.openrouter_direct]
base_url = "{openrouter}/api/v1"
api_key = {{ env = "OPENROUTER_API_KEY" }}

[models.glm]
on = {{ litellm_backend = "openrouter/z-ai/glm", openrouter_direct = "z-ai/glm" }}

[models.haiku]
on = {{ litellm_backend = "openrouter/anthropic/haiku", openrouter_direct = "anthropic/haiku" }}

[tasks.email-draft]
models = ["glm"]

[tasks.chat]
models = ["haiku"]

[paths]
proxied = ["litellm_backend", "openrouter_direct"]
direct = ["openrouter_direct"]

[rollout]
control = "direct"
shares = {{ proxied = 50 }}

[plugins.retries]
pause = "10ms"

[router]
default_task = "email-draft"
"""


def from_the_proxy(request: ReceivedRequest) -> Answer:
    model = str(request.model)
    return litellm_stream(model, PIECES) if request.streamed else litellm_answer(model, TEXT)


def from_openrouter(request: ReceivedRequest) -> Answer:
    model, usage = str(request.model), openrouter_usage(TEXT, cost=0.000012)
    if request.streamed:
        return openrouter_stream(model, PIECES, usage=usage)
    return openrouter_answer(model, TEXT, usage=usage)


@frozen
class Desk:
    """A folder with a configuration, and the two servers that it names."""

    folder: Path
    proxy: ScriptedServer
    openrouter: ScriptedServer

    def ask(self, *words: str, typed: str = "") -> Ran:
        ran = pointsman("ask", *words, cwd=self.folder, typed=typed, variables=KEYS)
        assert "canary" not in ran.out + ran.err, "a key was shown"
        assert "Traceback" not in ran.err
        return ran

    def add(self, text: str) -> None:
        file = self.folder / "pointsman.toml"
        file.write_text(file.read_text("utf-8") + text, "utf-8")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with ScriptedServer(from_the_proxy) as proxy, ScriptedServer(from_openrouter) as openrouter:
        text = CONFIG.format(proxy=proxy.url, openrouter=openrouter.url)
        (tmp_path / "pointsman.toml").write_text(text, "utf-8")
        yield Desk(tmp_path, proxy, openrouter)


# What is where


@BOTH_WAYS
def test_stdout_is_the_answer_and_nothing_else(desk: Desk, way: str) -> None:
    ran = desk.ask(way, *DIRECT, "Svar Mette Hansen")
    assert (ran.status, ran.out) == (0, f"{TEXT}\n")
    (request,) = desk.openrouter.requests
    assert request.streamed is (way == "--stream")
    assert request.json["messages"] == [{"role": "user", "content": "Svar Mette Hansen"}]


def test_stderr_says_who_answers_and_what_it_took(desk: Desk) -> None:
    usage = openrouter_usage(TEXT, cost=0.000012)
    desk.openrouter.play(openrouter_stream("z-ai/glm", PIECES, usage=usage, delay=0.03))
    ran = desk.ask(*DIRECT, "hej")
    who, took = ran.err.split("\n\n\n")
    assert who == "email-draft, path direct, bucket 62.853 %\n  1. glm via openrouter_direct"
    pace, cost = took.splitlines()
    assert re.fullmatch(r"1 attempt in \d\.\d\d s, first token after \d\.\d\d s, then \d+ tokens/s", pace)
    assert cost == "42 tokens in, 11 out, $0.000012, served as z-ai/glm at Nordlys"


def test_an_answer_that_came_at_one_moment_has_no_speed(desk: Desk) -> None:
    at_once = b"".join(map(sse_event, openrouter_stream("z-ai/glm", PIECES, usage=openrouter_usage(TEXT)).events))
    desk.openrouter.play(SSE([at_once]))
    ran = desk.ask(*DIRECT, "hej")
    assert ran.out == f"{TEXT}\n"
    assert re.search(r"^1 attempt in \d\.\d\d s, first token after \d\.\d\d s$", ran.err, re.MULTILINE)


def test_a_whole_answer_has_no_first_token(desk: Desk) -> None:
    ran = desk.ask("--no-stream", *DIRECT, "hej")
    assert re.search(r"^1 attempt in \d\.\d\d s$", ran.err, re.MULTILINE)


@BOTH_WAYS
def test_the_fallback_is_told(desk: Desk, way: str) -> None:
    desk.proxy.play(litellm_error(500, "Out of memory"))
    ran = desk.ask(way, *PROXIED, "hej")
    assert (ran.status, ran.out) == (0, f"{TEXT}\n")
    path, failed, why, serves = ran.err.splitlines()[:4]
    assert path == "email-draft, path proxied, bucket 39.130 %"
    assert re.fullmatch(r"  1\. glm via litellm_backend: 500 server, \d\.\d\d s", failed)
    assert why.startswith("     ")
    assert serves == "  2. glm via openrouter_direct"
    assert "2 attempts in " in ran.err


@BOTH_WAYS
def test_what_a_sink_prints_does_not_get_into_the_answer(desk: Desk, way: str) -> None:
    desk.add('[plugins.metrics_stdout]\nformat = "text"\n')
    ran = desk.ask(way, *DIRECT, "hej")
    assert ran.out == f"{TEXT}\n"
    assert re.search(r"#1 answered .*\n.* =  answered .*\n1 attempt in", ran.err)


@BOTH_WAYS
def test_json_is_one_document_with_the_decision(desk: Desk, way: str) -> None:
    ran = desk.ask(way, "--json", *DIRECT, "hej")
    assert (ran.status, ran.err) == (0, "")
    document = ran.document
    assert (document["text"], document["usage"]["cost"]) == (TEXT, 0.000012)
    assert document["decision"]["served"]["backend"] == "openrouter_direct"
    (attempt,) = document["decision"]["attempts"]
    assert (attempt["time_to_first_token"] is None) is (way == "--no-stream")


@BOTH_WAYS
def test_tool_calls_reasoning_and_an_early_end_are_told(desk: Desk, way: str) -> None:
    called = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "free_slots", "arguments": "{}"}}
    delta = {"choices": [{"index": 0, "delta": {"tool_calls": [called]}, "finish_reason": None}]}
    thought = {"choices": [{"index": 0, "delta": {"reasoning": "Hvornår?"}, "finish_reason": None}]}
    streamed = SSE([event() | thought, event("Øjeblik."), event() | delta, event(None, "length")])
    whole = openrouter_answer("z-ai/glm", "Øjeblik.", tool_calls=[called], finish_reason="length", reasoning="Hvornår?")
    desk.openrouter.play(streamed if way == "--stream" else whole)
    ran = desk.ask(way, *DIRECT, "hej")
    assert (ran.status, ran.out) == (0, "Øjeblik.\n")
    assert "calls free_slots {}\n" in ran.err
    assert ran.err.endswith("ended with length\n")
    assert ("Hvornår?\n" in ran.err) is (way == "--stream")


@BOTH_WAYS
def test_a_refusal_is_what_the_model_says(desk: Desk, way: str) -> None:
    refused = {"choices": [{"index": 0, "delta": {"refusal": "Nej."}, "finish_reason": None}]}
    whole = openrouter_answer("z-ai/glm", None)
    whole.json["choices"][0]["message"]["refusal"] = "Nej."
    desk.openrouter.play(SSE([event() | refused, event(None, "stop")]) if way == "--stream" else whole)
    ran = desk.ask(way, *DIRECT, "hej")
    assert (ran.status, ran.out) == (0, "Nej.\n")


OBEYED = "Hej\x1b]0;owned\x07\x1b[2J\r\x9b1m\tmed\ndig"
"""What a model, or whoever stands behind it, would like a terminal to do."""


@BOTH_WAYS
def test_a_pipe_gets_every_byte_of_the_answer(desk: Desk, way: str) -> None:
    usage = openrouter_usage(OBEYED)
    whole = openrouter_answer("z-ai/glm", OBEYED, usage=usage)
    desk.openrouter.play(openrouter_stream("z-ai/glm", [OBEYED], usage=usage) if way == "--stream" else whole)
    out = run_in_bytes(desk, way)
    assert out == f"{OBEYED}\n".encode()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
@BOTH_WAYS
def test_a_terminal_is_not_given_what_it_would_obey(desk: Desk, way: str) -> None:
    thought = {"choices": [{"index": 0, "delta": {"reasoning": "Hm\x1b[5m"}, "finish_reason": None}]}
    named = {"provider": "Nord\x1b[31mlys"}
    streamed = SSE([event() | thought | named, event(OBEYED) | named, event(None, "stop") | named])
    whole = openrouter_answer("z-ai/glm", OBEYED, provider="Nord\x1b[31mlys")
    desk.openrouter.play(streamed if way == "--stream" else whole)
    seen = on_a_terminal(desk, way)
    assert "Hej\ufffd]0;owned\ufffd\ufffd[2J\ufffd\ufffd1m\tmed\r\ndig" in seen
    assert "Nord\ufffd[31mlys" in seen
    assert ("Hm\ufffd[5m" in seen) is (way == "--stream")
    # What is left is our own: dim words.
    assert set(re.findall(r"\x1b\[\w*", seen)) <= {"\x1b[2m", "\x1b[0m"}
    assert not set("\x07\x9b") & set(seen)


def run_in_bytes(desk: Desk, *words: str) -> bytes:
    """Standard output of a command, as it is."""
    line = arguments("-m", "pointsman", "ask", *words, *DIRECT, "hej")
    done = subprocess.run(line, capture_output=True, check=True, cwd=desk.folder, env=environment(**KEYS), timeout=30)
    return done.stdout


def on_a_terminal(desk: Desk, *words: str) -> str:
    """Everything that a command writes on a terminal, as the terminal gets it."""
    ours, its = os.openpty()
    line = ["-m", "pointsman", "ask", *words, *DIRECT, "hej"]
    process = warm.start(line, (its, its, its), cwd=desk.folder, env=environment(**KEYS))
    os.close(its)
    seen = b""
    # At the end Linux says that the other side is gone, macOS says nothing.
    with suppress(OSError):
        while got := os.read(ours, 4096):
            seen += got
    assert process.wait(timeout=30) == 0
    os.close(ours)
    return seen.decode()


# What is asked


def test_the_prompt_comes_from_standard_input_where_there_are_no_arguments(desk: Desk) -> None:
    assert desk.ask("--system", "Kort.", typed="Svar Mette Hansen\n").status == 0
    assert desk.openrouter.requests[0].json["messages"] == [
        {"role": "system", "content": "Kort."},
        {"role": "user", "content": "Svar Mette Hansen"},
    ]


def test_options_and_parameters_reach_the_request(desk: Desk) -> None:
    desk.ask("--task", "chat", "--param", "temperature=0.3", "--param", "user=mette", "--param", 'stop=["\\n"]', "hej")
    body = desk.openrouter.requests[0].json
    assert (body["model"], body["temperature"], body["user"], body["stop"]) == ("anthropic/haiku", 0.3, "mette", ["\n"])
    desk.ask("--model", "haiku", *DIRECT, "hej")
    assert desk.openrouter.models[1] == "anthropic/haiku"


def test_the_deadline_holds(desk: Desk) -> None:
    desk.openrouter.play(Hang())
    ran = desk.ask("--deadline", "0.2", *DIRECT, "hej")
    assert (ran.status, ran.out) == (1, "")
    assert ran.err.splitlines()[-1].startswith("DeadlineExceeded: ")


# As it comes


@contextmanager
def asking(desk: Desk, script: Answer) -> Generator["subprocess.Popen[bytes]"]:
    """The command while it runs, in front of this script."""
    desk.openrouter.play(script)
    line = arguments("-m", "pointsman", "ask", *DIRECT, "hej")
    pipe = subprocess.PIPE
    with subprocess.Popen(line, stdout=pipe, stderr=pipe, cwd=desk.folder, env=environment(**KEYS)) as process:
        try:
            yield process
        finally:
            process.kill()


BEGUN = openrouter_stream("z-ai/glm", PIECES, cut_after=2, then=Hang())
"""Two pieces, and then nothing."""


def read(stream: IO[bytes] | None, text: str) -> None:
    """Waits for exactly this text."""
    assert stream
    assert stream.read(len(text.encode())).decode() == text


def test_the_text_appears_as_it_comes_and_before_it_who_writes_it(desk: Desk) -> None:
    with asking(desk, BEGUN) as process:
        read(process.stderr, "email-draft, path direct, bucket 62.853 %\n  1. glm via openrouter_direct\n\n")
        read(process.stdout, "".join(PIECES[:2]))
        assert process.poll() is None


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send to another process")
@pytest.mark.parametrize("script", [BEGUN, Hang()], ids=["in the middle", "before the first content"])
def test_ctrl_c_ends_it_and_hangs_up(desk: Desk, script: Answer) -> None:
    begun = script is BEGUN
    with asking(desk, script) as process:
        assert desk.openrouter.wait_for(lambda: len(desk.openrouter.requests) == 1, timeout=10)
        if begun:
            read(process.stdout, "".join(PIECES[:2]))
        process.send_signal(signal.SIGINT)
        out, err = (said.decode() for said in process.communicate(timeout=10))
        assert process.returncode == 130
    assert out == ("\n" if begun else "")
    assert err.endswith("\n\ninterrupted\n") if begun else err == "interrupted\n"
    assert desk.openrouter.wait_for(lambda: desk.openrouter.connected == 0)


def test_a_reader_that_leaves_ends_it(desk: Desk) -> None:
    with asking(desk, openrouter_stream("z-ai/glm", ["ord "] * 1000, delay=0.01)) as process:
        read(process.stdout, "ord ")
        assert process.stdout
        process.stdout.close()
        assert process.wait(timeout=20) == 1
        assert process.stderr
        assert b"Traceback" not in process.stderr.read()
    assert desk.openrouter.wait_for(lambda: len(desk.openrouter.abandoned) == 1)


# What goes wrong


@BOTH_WAYS
def test_when_all_failed_the_status_is_1_and_every_attempt_is_told(desk: Desk, way: str) -> None:
    desk.proxy.play(litellm_error(500, "Out of memory"))
    desk.openrouter.play(openrouter_error(502, "Provider returned error", {"provider_name": "Nordlys"}))
    ran = desk.ask(way, *PROXIED, "hej")
    assert (ran.status, ran.out) == (1, "")
    assert re.findall(r"^  (\d\. .*), \d\.\d\d s$", ran.err, re.MULTILINE) == [
        "1. glm via litellm_backend: 500 server",
        "2. glm via openrouter_direct: 502 server",
        "3. glm via litellm_backend: 500 server",  # a second chance
        "4. glm via openrouter_direct: 502 server",
    ]
    assert ran.err.splitlines()[-1].startswith("AllTargetsFailed: ")


LAST_RESORT = """
[tasks.office]
models = ["glm"]
last_resort = "Beklager, prøv igen senere."
"""


@BOTH_WAYS
def test_the_last_resort_is_the_answer_and_is_not_said_to_be_a_models(desk: Desk, way: str) -> None:
    desk.add(LAST_RESORT)
    desk.proxy.play(litellm_error(500, "Out of memory"))
    desk.openrouter.play(openrouter_error(502, "Provider returned error", {"provider_name": "Nordlys"}))
    ran = desk.ask(way, "--task", "office", *PROXIED, "hej")
    assert (ran.status, ran.out) == (0, "Beklager, prøv igen senere.\n")
    told = re.findall(r"^  ([\d-].*)$", ran.err, re.MULTILINE)
    assert [re.sub(r", \d\.\d\d s$", "", line) for line in told[:4]] == [
        "1. glm via litellm_backend: 500 server",
        "2. glm via openrouter_direct: 502 server",
        "3. glm via litellm_backend: 500 server",  # a second chance
        "4. glm via openrouter_direct: 502 server",
    ]
    (last,) = told[4:]
    assert last.startswith("-  the last resort of office, because nobody answered: the budget of 4 attempts is spent")
    assert re.search(r"^4 attempts in \d\.\d\d s$", ran.err, re.MULTILINE)


@BOTH_WAYS
def test_the_last_resort_where_nothing_was_tried_says_why(desk: Desk, way: str) -> None:
    desk.add(LAST_RESORT)
    ran = desk.ask(way, "--task", "office", "--deadline", "0.0005", *DIRECT, "hej")
    assert (ran.status, ran.out) == (0, "Beklager, prøv igen senere.\n")
    assert "the last resort of office, because nobody answered: nothing was tried: the deadline passed\n" in ran.err
    assert ran.err.splitlines()[-1] == "nothing was tried"
    assert not desk.openrouter.requests


def test_when_all_failed_the_json_document_says_so(desk: Desk) -> None:
    desk.openrouter.play(openrouter_error(429, "Slow down", headers={"Retry-After": "9"}))
    ran = desk.ask("--json", "--deadline", "5", *DIRECT, "hej")
    assert ran.status == 1
    document = ran.document
    assert (document["error"], document["retry_after"], document["partial"]) == ("AllTargetsFailed", 9, None)
    assert len(document["decision"]["attempts"]) == 1


def test_a_stream_that_breaks_leaves_what_had_arrived_and_says_why(desk: Desk) -> None:
    desk.openrouter.play(openrouter_stream("z-ai/glm", PIECES, cut_after=3, then=Drop()))
    ran = desk.ask(*DIRECT, "hej")
    assert (ran.status, ran.out) == (1, "".join(PIECES[:3]) + "\n")
    assert ran.err.splitlines()[-1].startswith("StreamInterrupted: the stream broke after it had begun")
    ran = desk.ask("--json", *DIRECT, "hej")
    assert (ran.status, ran.document["error"]) == (1, "StreamInterrupted")
    assert ran.document["partial"]["text"] == "".join(PIECES[:3])


def test_a_key_that_the_server_repeats_is_not_shown(desk: Desk) -> None:
    for way in ("--stream", "--no-stream", "--json"):
        desk.openrouter.play(openrouter_error(401, f"Bad key {KEYS['OPENROUTER_API_KEY']}"))
        assert desk.ask(way, *DIRECT, "hej").status == 1


def test_where_no_backend_streams_the_error_says_what_to_do(desk: Desk) -> None:
    source = (
        "from attrs import define\n"
        "from pointsman.chat import Completion\n"
        "from pointsman.hookspecs import BackendInvocation, hookimpl\n"
        "@define(eq=False)\n"
        "class Mute(BackendInvocation):\n"
        "    @hookimpl\n"
        "    async def complete(self, target, request, ctx):\n"
        "        return Completion(text='whole', finish_reason='stop')\n"
    )
    site = desk.folder / "site"
    site.mkdir()
    Site(site).install("mute", offers={"mute": "mute_backend:Mute"}, modules={"mute_backend": source})
    (desk.folder / "pointsman.toml").write_text('[plugins.mute]\n[models.m]\non = { mute = "m" }\n', "utf-8")

    def ask(*words: str) -> Ran:
        return pointsman("ask", *words, "hej", cwd=desk.folder, variables={"PYTHONPATH": str(site)})

    ran = ask()
    assert (ran.status, ran.out) == (1, "")
    assert "mute cannot stream; --no-stream asks for the whole answer" in ran.err
    ran = ask("--no-stream")
    assert (ran.status, ran.out) == (0, "whole\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--temprature", "1", "hej"], "--temprature"),
        (["--param", "temperature", "hej"], '"temperature" is not NAME=JSON'),
        (["--param", "=1", "hej"], '"=1" is not NAME=JSON'),
        (["--param", "stream=true", "hej"], "stream is said by --stream or --no-stream"),
        (["--param", "task=chat", "hej"], "task is said by --task"),
        (["--param", "labels=1", "hej"], "labels: a mapping, not int"),
        (["--deadline", "0", "hej"], "--deadline"),
        (["--deadline", "inf", "hej"], "deadline: a number of seconds"),
        (["--task", "email-drafts", "hej"], 'unknown task "email-drafts"; did you mean "email-draft"?'),
        (["--model", "glmm", "hej"], 'unknown model "glmm"; did you mean "glm"?'),
        (["--config", "nowhere.toml", "hej"], "nowhere.toml"),
        ([], "there is no prompt"),
        ([""], "there is no prompt"),
        (["", " \n"], "there is no prompt"),
        (["--system", "Kort.", ""], "there is no prompt"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_use_has_status_2_and_calls_nobody(desk: Desk, words: list[str], said: str) -> None:
    ran = desk.ask(*words)
    assert (ran.status, ran.out) == (2, "")
    assert said in ran.err
    assert not desk.openrouter.requests


@pytest.mark.parametrize("typed", ["", " \n"])
def test_an_empty_argument_is_not_filled_from_standard_input_and_an_empty_input_is_no_prompt(
    desk: Desk, typed: str
) -> None:
    assert desk.ask("", typed="hej").status == 2
    assert desk.ask(typed=typed).status == 2
    assert not desk.openrouter.requests


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
@pytest.mark.parametrize("way", ["--stream", "--no-stream", "--json"])
def test_an_answer_that_cannot_be_written_ends_it_with_one_line(desk: Desk, way: str) -> None:
    status, err = onto_a_full_disk("ask", way, *DIRECT, "hej", cwd=desk.folder, variables=KEYS)
    assert status == 1
    assert err.splitlines()[-1] == "pointsman: No space left on device"
    assert "Traceback" not in err
    assert "ignored" not in err


def test_every_mistake_in_the_configuration_is_told_with_its_line(desk: Desk) -> None:
    desk.add('deadlin = "5s"\n\n[tasks.nothing]\nmodels = ["gml"]\n')
    ran = desk.ask("hej")
    assert (ran.status, ran.out) == (2, "")
    first, second, count = ran.err.split("\n\n")
    assert re.match(r"pointsman\.toml:\d+:\d+ router\.deadlin: .*did you mean \"deadline\"", first)
    assert 'deadlin = "5s"\n' in first
    assert re.match(r"pointsman\.toml:\d+:\d+ tasks\.nothing\.models", second)
    assert count == "2 problems\n"


def test_the_server_says_that_the_request_is_wrong_and_that_is_a_failure(desk: Desk) -> None:
    desk.openrouter.play(Reply(400, {"error": {"message": "temperature: too hot", "code": 400}}))
    ran = desk.ask(*DIRECT, "--param", "temperature=9", "hej")
    assert ran.status == 1
    assert "BadRequest" in ran.err
