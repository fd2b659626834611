"""What the tests of nginx and gunicorn ask: one request, its answer, and raw ones, which no client would send."""

import socket
from http.client import HTTPMessage, HTTPResponse, HTTPSConnection
from typing import Self

from tests.integration.deploy.servers import HOST, Nginx

NAMED = f"Host: {HOST}\r\n".encode()
POST = b"POST /echo HTTP/1.1\r\n" + NAMED


class Answer:
    """Status, headers by small name, and body of an answer; `lines` are its headers as they came, repeated or not."""

    def __init__(self, status: int, message: HTTPMessage, body: bytes) -> None:
        self.status = status
        self.lines = message.items()
        self.headers = {name.lower(): value for name, value in self.lines}
        self.body = body

    @classmethod
    def read(cls, answer: HTTPResponse) -> Self:
        """Take in an answer to the end of its body."""
        return cls(answer.status, answer.msg, answer.read())


def ask(
    nginx: Nginx,
    path: str,
    *,
    method: str = "GET",
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """One request on a connection of its own."""
    connection = HTTPSConnection("127.0.0.1", nginx.https_port, context=nginx.trust(), timeout=10)
    connection.sock = nginx.connect()
    try:
        connection.request(method, path, body=body, headers={"Host": HOST, **(headers or {})})
        return Answer.read(connection.getresponse())
    finally:
        connection.close()


def ask_raw(connection: socket.socket, request: bytes) -> Answer:
    """Bytes as they are, and the answer to them; closes the connection."""
    with connection:
        connection.settimeout(10)
        connection.sendall(request)
        answer = HTTPResponse(connection, method=request.partition(b" ")[0].decode("latin-1"))
        answer.begin()
        return Answer.read(answer)


def plainly(port: int) -> socket.socket:
    """A connection without TLS."""
    return socket.create_connection(("127.0.0.1", port), timeout=10)
