"""Servers that say nothing, or too slowly: the attempt's limit ends it, whatever trickles in."""

import pytest

from pointsman.testing import Hang, RawBytes
from pointsman.testing.replies import chunk
from tests.faults.scene import BODY, JSON_HEAD, LATE, LIMIT, Scene, in_both_faces, in_every_face
from tests.faults.table import row
from tests.support.sockets import deaf
from tests.support.wires import CHUNKED, event, sse_event

TOO_LATE = ("timeout", "model", "counts", "possibly_billed")

SLOWLY = 0.01
"""Seconds between two bytes: often enough for any limit between two reads."""


def ended_in_time(scene: Scene, face: str) -> None:
    scene.router |= {"attempt_timeout": LIMIT, "first_token_timeout": LIMIT}
    told = scene.ask(face)
    told.moved_on(TOO_LATE)
    assert LIMIT <= told.took < LIMIT + LATE


def bytewise(data: bytes) -> list[bytes]:
    return [data[place : place + 1] for place in range(len(data))]


@row(7)
@in_every_face
@pytest.mark.parametrize("sent", [b"", JSON_HEAD[:1], JSON_HEAD[:30], JSON_HEAD[:-1]])
def test_headers_that_never_end_are_not_waited_for(scene, face, sent):
    scene.faulty.play(RawBytes(sent, then=Hang()))
    ended_in_time(scene, face)


@row(8)
@in_every_face
def test_headers_that_drip_are_no_progress(scene, face):
    scene.faulty.play(RawBytes(bytewise(JSON_HEAD), delay=SLOWLY, then=Hang()))
    ended_in_time(scene, face)


@row(9)
@in_every_face
def test_a_whole_body_that_drips_is_no_progress(scene, face):
    scene.faulty.play(RawBytes([JSON_HEAD, *map(chunk, bytewise(BODY))], delay=SLOWLY, then=Hang()))
    ended_in_time(scene, face)


@row(9)
@pytest.mark.parametrize("face", ["stream", "astream"])
@pytest.mark.parametrize(
    "body", [b": ping\n\n" * 50, sse_event(event()) + sse_event(event("Hej"))], ids=["pings", "SSE"]
)
def test_a_stream_that_drips_is_no_progress(scene, face, body):
    scene.faulty.play(RawBytes([CHUNKED, *map(chunk, bytewise(body))], delay=SLOWLY, then=Hang()))
    ended_in_time(scene, face)


@row(10)
@in_both_faces
@pytest.mark.parametrize("place", [0, 1, len(BODY) // 2, -1], ids=["first", "second", "middle", "last"])
def test_a_whole_body_that_stalls_is_left_at_the_attempts_limit(scene, face, place):
    scene.faulty.play(RawBytes(JSON_HEAD + chunk(BODY[:place]) if place else JSON_HEAD, then=Hang()))
    ended_in_time(scene, face)


@row(10)
@in_both_faces
def test_a_whole_body_whose_end_never_comes_is_left_at_the_attempts_limit(scene, face):
    scene.faulty.play(RawBytes(JSON_HEAD + chunk(BODY), then=Hang()))
    ended_in_time(scene, face)


@row(32)
@in_every_face
def test_a_server_that_never_reads_the_upload_is_left_at_the_attempts_limit(scene, face):
    scene.prompt += "x" * 8_000_000
    with deaf() as server:
        scene.url = f"http://127.0.0.1:{server.port}"
        scene.requests = lambda: server.received().count(b"POST /chat/completions")
        ended_in_time(scene, face)


@in_both_faces
def test_an_answer_that_comes_slowly_but_in_time_is_one(scene, face):
    scene.router["attempt_timeout"] = 10
    scene.faulty.play(RawBytes([JSON_HEAD, *map(chunk, bytewise(BODY)), chunk(b"")], delay=0.0005))
    told = scene.ask(face)
    assert told.completion.text == "Hej"
