"""Servers that cannot be reached: nothing was sent, and the next target answers."""

import socket
import threading
from datetime import UTC, datetime

import pytest
import trustme
from attrs import define

from pointsman.events import AttemptFinished
from pointsman.hookspecs import MetricEmission, hookimpl
from tests.faults.scene import LATE, LIMIT, in_every_face, over_tls
from tests.faults.table import row
from tests.support.sockets import closed_port, deaf, full, rude

NOT_SENT = ("connect", "backend", "counts", "not_sent")


@row(1)
@in_every_face
def test_a_refused_connection_was_not_sent(scene, face):
    scene.url = f"http://127.0.0.1:{closed_port()}"
    scene.ask(face).moved_on(NOT_SENT)


@row(2)
@in_every_face
def test_a_name_that_does_not_resolve_was_not_sent(scene, face):
    scene.url = "http://name.invalid"
    told = scene.ask(face)
    told.moved_on(NOT_SENT)
    assert "resolve" in told.failure.message


@define(eq=False)
class UntilFinished(MetricEmission):
    """Ends something when an attempt has ended without it."""

    over: threading.Event

    @hookimpl
    def emit_metric(self, event):
        if isinstance(event, AttemptFinished):
            self.over.set()


@row(2)
@in_every_face
def test_a_resolver_that_hangs_is_left_within_the_connect_limit(scene, face, monkeypatch):
    over = threading.Event()
    resolve = socket.getaddrinfo

    def hanging(host, *rest, **known):
        if host == "slow.invalid":
            over.wait(5)
        return resolve(host, *rest, **known)

    monkeypatch.setattr(socket, "getaddrinfo", hanging)
    scene.url = "http://slow.invalid"
    scene.settings["connect_timeout"] = LIMIT
    # The thread that resolves cannot be interrupted.
    scene.patience = 1
    scene.plugins["until"] = UntilFinished(over)
    told = scene.ask(face)
    told.moved_on(NOT_SENT)
    assert LIMIT <= told.took < LIMIT + LATE


@row(3)
@in_every_face
def test_a_black_hole_is_left_within_the_connect_limit(scene, face):
    with full() as port:
        scene.url = f"http://127.0.0.1:{port}"
        scene.settings["connect_timeout"] = LIMIT
        told = scene.ask(face)
    told.moved_on(NOT_SENT)
    assert LIMIT <= told.took < LIMIT + LATE


# TLS


CERTIFICATES = {
    "untrusted": lambda ca: trustme.CA().issue_cert("127.0.0.1"),
    "for another host": lambda ca: ca.issue_cert("elsewhere.example"),
    "expired": lambda ca: ca.issue_cert("127.0.0.1", not_after=datetime(2020, 1, 1, tzinfo=UTC)),
}


@row(4)
@in_every_face
@pytest.mark.parametrize("issue", CERTIFICATES.values(), ids=CERTIFICATES)
def test_a_certificate_that_is_not_trusted_is_never_tried_unverified(scene, face, issue):
    with over_tls(scene, issue(scene.ca)) as server:
        told = scene.ask(face)
        told.moved_on(NOT_SENT)
        assert "certificate" in told.failure.message
        assert server.requests == []


@in_every_face
def test_a_certificate_that_is_trusted_is(scene, face):
    with over_tls(scene, scene.ca.issue_cert("127.0.0.1")) as server:
        assert scene.ask(face).decision.served.backend == "faulty"
        assert len(server.requests) == 1


@row(5)
@in_every_face
@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x16\x03\x01" + b"\xff" * 200])
def test_a_tls_handshake_that_breaks_was_not_sent(scene, face, said, reset):
    with rude(said, reset=reset) as port:
        scene.url = f"https://127.0.0.1:{port}"
        scene.ask(face).moved_on(NOT_SENT)


@row(5)
@in_every_face
def test_a_tls_handshake_that_hangs_is_left_within_the_connect_limit(scene, face):
    with deaf() as server:
        scene.url = f"https://127.0.0.1:{server.port}"
        scene.requests = lambda: server.received().count(b"POST")
        scene.settings["connect_timeout"] = LIMIT
        told = scene.ask(face)
    told.moved_on(NOT_SENT)
    assert LIMIT <= told.took < LIMIT + LATE
