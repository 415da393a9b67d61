"""The scripted server does what its script says, and survives what its clients do."""

import http.client
import json
import socket
import ssl
import struct
import threading
import time

import pytest
import trustme

from pointsman.testing import SSE, Drop, Hang, RawBytes, Reply, ScriptedServer, ScriptError


def connect(server, **options):
    return http.client.HTTPConnection("127.0.0.1", server.port, timeout=5, **options)


def post(server, model="glm", connection=None):
    client = connection or connect(server)
    try:
        client.request("POST", "/v1/chat/completions", json.dumps({"model": model}), {"X-Probe": "Århus".encode()})
        response = client.getresponse()
        return response.status, response.read()
    finally:
        if connection is None:
            client.close()


def test_answers_come_in_the_scripts_order_and_requests_are_remembered(server):
    server.play([Reply(500), Reply(200, {"text": "rengøring"})])
    assert post(server, "a")[0] == 500
    status, body = post(server, "b")
    assert (status, json.loads(body)) == (200, {"text": "rengøring"})
    assert server.models == ["a", "b"]
    assert server.requests[0].path == "/v1/chat/completions"
    assert "x-probe" in server.requests[0].headers


def test_a_function_chooses_the_answer_from_the_request(server):
    server.play(lambda request: Reply(404 if request.model == "gone" else 200))
    assert [post(server, model)[0] for model in ("here", "gone")] == [200, 404]


def test_a_connection_carries_one_request_after_another(server):
    server.play(lambda request: SSE([{"n": 1}]) if request.model == "stream" else Reply(json={}))
    client = connect(server)
    for model in ("whole", "stream", "whole"):
        assert post(server, model, client)[0] == 200
    client.close()
    assert [request.connection for request in server.requests] == [1, 1, 1]


def test_a_chunked_request_is_read_whole(server):
    server.play(Reply())
    client = connect(server)
    client.request("POST", "/", iter([b'{"model": ', b'"glm"}']), {"Transfer-Encoding": "chunked"}, encode_chunked=True)
    assert client.getresponse().read() == b"null"
    client.close()
    assert server.models == ["glm"]


def test_a_stream_sends_each_event_and_then_done(server):
    server.play(SSE([b": comment\n\n", {"text": "Århus"}]))
    body = post(server)[1].decode()
    assert body == ': comment\n\ndata: {"text": "Århus"}\n\ndata: [DONE]\n\n'


def test_a_stream_can_break_off(server):
    server.play(SSE([{"n": 1}], done=False, then=Drop()))
    with pytest.raises(http.client.IncompleteRead):
        post(server)


@pytest.mark.parametrize("reset", [False, True])
def test_a_drop_ends_the_connection_before_any_answer(server, reset):
    server.play(Drop(reset=reset))
    with pytest.raises(ConnectionResetError if reset else http.client.RemoteDisconnected):
        post(server)


def test_raw_bytes_are_sent_as_they_are(server):
    server.play(RawBytes([b"HTTP/1.1 200 OK\r\n", b"Content-Length: 99\r\n\r\nshort"]))
    with pytest.raises(http.client.IncompleteRead):
        post(server)


def test_a_hanging_server_is_noticed_by_the_client_and_the_client_by_the_server(server):
    server.play(Hang())
    client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=0.1)
    with pytest.raises(TimeoutError):
        post(server, "slow", client)
    client.close()
    assert server.wait_for(lambda: server.abandoned != [])
    assert server.abandoned == server.requests


def test_a_client_that_resets_in_the_middle_of_a_stream_is_harmless(server):
    server.play(SSE([{"n": n} for n in range(1000)], delay=0.01))
    client = socket.create_connection(("127.0.0.1", server.port))
    client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.recv(10)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    assert server.wait_for(lambda: server.abandoned != [])
    server.play(Reply())
    assert post(server)[0] == 200


def test_garbage_in_place_of_a_request_is_harmless(server):
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(b"\x16\x03\x01 not http\r\n\r\n")
        assert client.recv(10) == b""
    assert server.requests == []


def test_stopping_does_not_wait_for_clients_that_never_read():
    before = set(threading.enumerate())
    with (
        ScriptedServer(Reply(body=b"x" * 50_000_000)) as server,
        socket.create_connection(("127.0.0.1", server.port)) as client,
    ):
        client.sendall(b"POST / HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert client.recv(10)
        start = time.monotonic()
        server.stop()
        assert time.monotonic() - start < 1
    assert not set(threading.enumerate()) - before


def test_an_answer_that_the_script_does_not_have_is_an_error():
    with pytest.raises(ScriptError, match="request 2"), ScriptedServer([Reply()]) as server:
        assert [post(server)[0] for _ in range(2)] == [200, 500]


def test_it_speaks_tls():
    authority = trustme.CA()
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server_context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with ScriptedServer(Reply(json="ja"), ssl_context=server_context) as server:
        assert server.url.startswith("https://")
        client = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=5, context=trusting)
        assert post(server, connection=client) == (200, b'"ja"')
        client.close()
        distrusting = http.client.HTTPSConnection(
            "127.0.0.1", server.port, timeout=5, context=ssl.create_default_context()
        )
        with pytest.raises(ssl.SSLCertVerificationError):
            post(server, connection=distrusting)
        distrusting.close()
    assert len(server.requests) == 1


def test_a_client_that_never_finishes_the_handshake_does_not_hold_the_server_up():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with ScriptedServer(Reply(), ssl_context=context) as server, socket.create_connection(("127.0.0.1", server.port)):
        start = time.monotonic()
        server.stop()
    assert time.monotonic() - start < 1
