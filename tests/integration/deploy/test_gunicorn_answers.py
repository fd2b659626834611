"""What gunicorn answers itself: in the application's manner, with every header, and nothing secret in its log."""

import json
import re
import socket
from http.client import HTTPResponse
from pathlib import Path

import pytest

from blueprints.http.headers import ALWAYS, API_POLICY, HSTS
from tests.integration.deploy.asking import NAMED, Answer, ask, ask_raw, plainly
from tests.integration.deploy.servers import NGINX, Gunicorn, Nginx, until

pytestmark = [pytest.mark.integration, pytest.mark.slow]

END = b" HTTP/1.1\r\n" + NAMED
#: A request for programs, the status, the code.
REFUSED = {
    "a folded header": (b"GET /api/x" + END + b"X: a\r\n b\r\n\r\n", 400, "BAD_REQUEST"),
    "a broken name": (b"GET /api/x" + END + b"a b: c\r\n\r\n", 400, "BAD_REQUEST"),
    "a broken version": (b"GET /api/x HTTP/x\r\n" + NAMED + b"\r\n", 400, "BAD_REQUEST"),
    "two lengths": (
        b"POST /api/x" + END + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        400,
        "BAD_REQUEST",
    ),
    "a long address": (b"GET /api/" + b"a" * 5000 + END + b"\r\n", 414, "BAD_REQUEST"),
    "another expectation": (
        b"POST /api/x" + END + b"Expect: more\r\nContent-Length: 1\r\n\r\n",
        417,
        "BAD_REQUEST",
    ),
    "a long header": (b"GET /api/x" + END + b"X: " + b"a" * 9000 + b"\r\n\r\n", 431, "BAD_REQUEST"),
    "many headers": (b"GET /api/x" + END + b"X: a\r\n" * 60 + b"\r\n", 431, "BAD_REQUEST"),
    "another coding": (b"POST /api/x" + END + b"Transfer-Encoding: x\r\n\r\n", 501, "BAD_REQUEST"),
    "a fault in the answer": (b"GET /api/broken" + END + b"\r\n", 500, "INTERNAL_ERROR"),
}


def is_dressed(answer: Answer) -> None:
    names = [name.lower() for name, _ in answer.lines]
    assert len(names) == len(set(names))
    for name, value in (*ALWAYS, HSTS, ("Content-Security-Policy", API_POLICY), ("Connection", "close")):
        assert answer.headers[name.lower()] == value
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
    assert "date" in answer.headers


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_of_programs_wear_the_envelope(server: Gunicorn, case: str) -> None:
    request, status, code = REFUSED[case]
    answer = ask_raw(plainly(server.port), request)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/json")
    is_dressed(answer)
    told = json.loads(answer.body)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", told.pop("timestamp"))
    assert told["error"].pop("message")
    request_id = answer.headers["x-request-id"]
    assert told == {"success": False, "error": {"code": code, "details": {}, "request_id": request_id}}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_of_people_are_finished_pages(server: Gunicorn, case: str) -> None:
    request, status, _ = REFUSED[case]
    answer = ask_raw(plainly(server.port), request.replace(b"/api/", b"/"))
    assert (answer.status, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    is_dressed(answer)
    page = answer.body.decode()
    assert f"Error {status} · request <code>{answer.headers['x-request-id']}</code>" in page
    assert page.rstrip().endswith("</html>")


def test_what_is_no_request_at_all_gets_a_page(server: Gunicorn) -> None:
    answer = ask_raw(plainly(server.port), b"\x16\x03\x01 /api/ \r\n\r\n")
    assert (answer.status, answer.headers["content-type"]) == (400, "text/html; charset=utf-8")
    is_dressed(answer)


def test_readers_are_told_apart_by_what_they_accept_and_send(server: Gunicorn) -> None:
    for header in (b"Accept: application/json, text/html;q=0.5", b"Content-Type: application/json"):
        answer = ask_raw(plainly(server.port), b"GET /auth/login" + END + header + b"\r\na b: c\r\n\r\n")
        assert (answer.status, answer.headers["content-type"]) == (400, "application/json")


def test_connection_is_closed_after_a_refusal(server: Gunicorn) -> None:
    with plainly(server.port) as connection:
        connection.sendall(b"GET /api/x" + END + b"a b: c\r\n\r\nGET /health" + END + b"\r\n")
        answers = b""
        while piece := connection.recv(65536):
            answers += piece
    assert answers.count(b"HTTP/1.1 ") == 1


def test_second_request_of_a_connection_is_refused_in_its_own_readers_manner(server: Gunicorn) -> None:
    connection = plainly(server.port)
    connection.sendall(b"GET /health" + END + b"\r\n")
    first = HTTPResponse(connection)
    first.begin()
    assert (first.status, bool(first.read())) == (200, True)
    answer = ask_raw(connection, b"GET /auth/x" + END + b"a b: c\r\n\r\n")
    assert (answer.status, answer.headers["content-type"]) == (400, "text/html; charset=utf-8")


def test_head_is_refused_without_a_body(server: Gunicorn) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(b"HEAD /x" + END + b"a b: c\r\n\r\n")
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /auth/reset?token=SECRET x y\r\n\r\n",
        b"GET /auth/reset?token=SECRET HTTP/x\r\n" + NAMED + b"\r\n",
        b"GET /auth/reset?token=SECRET" + b"a" * 5000 + END + b"\r\n",
        b"GET /x" + END + b"Authorization : SECRET\r\n\r\n",
        b"GET /broken?token=SECRET" + END + b"\r\n",
    ],
)
def test_log_tells_the_kind_of_a_refusal_and_nothing_that_was_sent(
    server: Gunicorn, request_bytes: bytes
) -> None:
    before = len(server.log.read_bytes())
    assert ask_raw(plainly(server.port), request_bytes).status >= 400
    until(lambda: len(server.log.read_bytes()) > before, seconds=3, what="the line")
    added = server.log.read_bytes()[before:].decode()
    assert "A request was answered with " in added
    assert "SECRET" not in added


@pytest.mark.skipif(not Path(NGINX).exists(), reason="nginx is not installed")
def test_through_nginx_they_keep_its_number_of_the_request(nginx: Nginx) -> None:
    """nginx takes longer lines than gunicorn, and passes gunicorn's refusal on."""
    answer = ask(nginx, f"/api/{'a' * 5000}")
    assert (answer.status, answer.headers["content-type"]) == (414, "application/json")
    assert answer.headers["strict-transport-security"] == HSTS[1]
    assert json.loads(answer.body)["error"]["request_id"] == answer.headers["x-request-id"]
