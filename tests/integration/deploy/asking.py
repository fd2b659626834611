"""What the tests of nginx ask: one request, its answer, and the first lines of raw ones."""

from http.client import HTTPResponse, HTTPSConnection

from tests.integration.deploy.servers import HOST, Nginx

NAMED = f"Host: {HOST}\r\n".encode()
POST = b"POST /echo HTTP/1.1\r\n" + NAMED


class Answer:
    """Status, headers by small name, and body of an answer."""

    def __init__(self, answer: HTTPResponse) -> None:
        self.status = answer.status
        self.headers = {name.lower(): value for name, value in answer.getheaders()}
        self.body = answer.read()


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
        return Answer(connection.getresponse())
    finally:
        connection.close()
