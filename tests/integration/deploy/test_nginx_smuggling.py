"""Requests that nginx and gunicorn could read differently: each refuses them by itself."""

import socket
from pathlib import Path

import pytest

from tests.integration.deploy.asking import NAMED, POST
from tests.integration.deploy.servers import NGINX, Gunicorn, Nginx

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.skipif(not Path(NGINX).exists(), reason="nginx is not installed"),
]


def raw(connection: socket.socket, request: bytes) -> tuple[int, bool]:
    """Send bytes; the status of the first answer (0 for none) and whether the connection was closed after it."""
    connection.settimeout(5)
    answer = b""
    try:
        connection.sendall(request)
        while piece := connection.recv(65536):
            answer += piece
        is_closed = True
    except TimeoutError:
        is_closed = False
    except OSError:
        is_closed = True
    status = int(answer.split(b" ")[1]) if answer.startswith(b"HTTP/1.1 ") else 0
    return status, is_closed


GET = b"GET /echo HTTP/1.1\r\n"
AMBIGUOUS = {
    "length and chunks": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x",
    "two lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "the same length twice": POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "a list of lengths": POST + b"Content-Length: 5, 5\r\n\r\nhello",
    "a signed length": POST + b"Content-Length: +5\r\n\r\nhello",
    "another coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a vertical tab": POST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "two codings": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": b"POST /echo HTTP/1.0\r\n" + NAMED + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a bare carriage return": GET + NAMED + b"X: a\rY: b\r\n\r\n",
    "two hosts": GET + NAMED + b"Host: evil.test\r\n\r\n",
    "a folded line": GET + NAMED + b"X-A: a\r\n b\r\n\r\n",
    "a folded first line": GET + b" X-A: a\r\n" + NAMED + b"\r\n",
    "a NUL": GET + NAMED + b"X: a\x00b\r\n\r\n",
}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_ambiguous_request_is_refused_by_nginx(nginx: Nginx, case: str) -> None:
    with nginx.connect() as connection:
        status, is_closed = raw(connection, AMBIGUOUS[case])
    assert status in {400, 501}
    assert is_closed


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_ambiguous_request_is_refused_by_gunicorn(server: Gunicorn, case: str) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        status, is_closed = raw(connection, AMBIGUOUS[case])
    assert status in {400, 501}
    assert is_closed


def test_bare_line_feeds_are_refused_by_gunicorn(server: Gunicorn) -> None:
    """nginx takes them, and writes the request anew with both characters before it passes it on."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        assert raw(connection, b"GET /echo HTTP/1.1\nHost: portico.test\n\n") == (400, True)


@pytest.mark.parametrize("body", [b"3\r\nhello\r\n0\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n", b"-1\r\n\r\n"])
def test_wrong_chunks_are_refused(nginx: Nginx, body: bytes) -> None:
    with nginx.connect() as connection:
        assert raw(connection, POST + b"Transfer-Encoding: chunked\r\n\r\n" + body) == (400, True)
