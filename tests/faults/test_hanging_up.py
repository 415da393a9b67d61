"""Servers that hang up: before the answer, in it, or just before the next request."""

import pytest
from attrs import evolve

from pointsman.testing import Drop, RawBytes
from pointsman.testing.replies import chunk, head
from tests.faults.scene import BODY, JSON_HEAD, JSON_TYPE, in_both_faces, in_every_face, well
from tests.faults.table import row

HUNG_UP = ("connect", "backend", "counts", "possibly_billed")
CUT = ("bad_response", "model", "counts", "possibly_billed")
REUSED = ("connect", "backend", "neutral", "possibly_billed")

in_both_ways = pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
places = pytest.mark.parametrize("place", [1, len(BODY) // 2, -1], ids=["first", "middle", "last"])


@row(6)
@in_every_face
@in_both_ways
@pytest.mark.parametrize("sent", [b"", JSON_HEAD[:1], JSON_HEAD[:30], JSON_HEAD[:-1]])
def test_a_server_that_hangs_up_before_its_headers_may_have_billed(scene, face, sent, reset):
    scene.faulty.play(RawBytes(sent, then=Drop(reset=reset)))
    scene.ask(face).moved_on(HUNG_UP)


@row(11)
@in_both_faces
@in_both_ways
@places
def test_a_whole_answer_that_is_cut_is_passed_by(scene, face, place, reset):
    # The delay is for RST, which takes what is still on its way with it.
    scene.faulty.play(RawBytes(JSON_HEAD + chunk(BODY[:place]), then=Drop(reset=reset, delay=0.02)))
    scene.ask(face).moved_on(CUT)


@row(12)
@in_both_faces
@places
def test_a_content_length_that_is_longer_than_the_body_is_no_answer(scene, face, place):
    scene.faulty.play(RawBytes(head(200, JSON_TYPE | {"content-length": str(len(BODY))}) + BODY[:place]))
    scene.ask(face).moved_on(CUT)


@row(12)
@in_both_faces
@pytest.mark.parametrize(
    "body",
    [chunk(BODY)[:1], chunk(BODY)[:20], chunk(BODY)[:-2], chunk(BODY), chunk(BODY) + b"0\r\n", b"zz\r\n" + BODY],
    ids=["in the size", "in the chunk", "before its end", "before the last", "in the last", "a size that is none"],
)
def test_a_chunked_body_that_is_truncated_is_no_answer(scene, face, body):
    scene.faulty.play(RawBytes(JSON_HEAD + body))
    scene.ask(face).moved_on(CUT)


@row(13)
@in_both_faces
@places
def test_a_close_delimited_body_that_is_cut_is_no_answer(scene, face, place):
    scene.faulty.play(RawBytes(head(200, JSON_TYPE | {"connection": "close"}) + BODY[:place]))
    told = scene.ask(face)
    # Nothing but the JSON tells that something is missing.
    told.moved_on(CUT, (*CUT[:3], "answered"))


@in_both_faces
def test_a_close_delimited_body_that_is_whole_is_an_answer(scene, face):
    scene.faulty.play(RawBytes(head(200, JSON_TYPE | {"connection": "close"}) + BODY))
    told = scene.ask(face)
    assert told.completion.text == "Hej"
    assert told.decision.served.backend == "faulty"


@row(35)
@in_every_face
@in_both_ways
@pytest.mark.parametrize("sent", [b"", JSON_HEAD[:30]], ids=["before the headers", "in the headers"])
def test_a_reused_connection_that_is_lost_is_no_strike(scene, face, sent, reset):
    breaks = RawBytes(sent, then=Drop(reset=reset))
    scene.faulty.play(lambda request: breaks if len(scene.faulty.requests) > 1 else well(request))
    first, second = scene.ask_again(face, 2)
    assert first.decision.served.backend == "faulty"
    second.moved_on(REUSED)
    one, other = scene.faulty.requests
    assert one.connection == other.connection


@in_every_face
def test_a_connection_that_the_server_closes_is_not_used_again(scene, face):
    scene.faulty.play(lambda request: evolve(well(request), headers={"connection": "close"}))
    told = scene.ask_again(face, 3)
    assert [one.decision.served.backend for one in told] == ["faulty"] * 3
