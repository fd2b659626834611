"""What nginx answers itself, and what it writes down: in the app's manner, whatever was sent."""

import json
import re
from pathlib import Path

import pytest

from blueprints.http.headers import ALWAYS, API_POLICY, HSTS
from tests.integration.deploy.asking import NAMED, Answer, ask, ask_raw, plainly
from tests.integration.deploy.servers import HOST, NGINX, Nginx, until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.skipif(not Path(NGINX).exists(), reason="nginx is not installed"),
]

LONG = b"a" * 9000
END = b" HTTP/1.1\r\n" + NAMED
#: For programs: the request up to its headers' end, the status, the code.
REFUSED = {
    "a broken header": (b"GET /api/x" + END + b"a b: c\r\n\r\n", 400, "BAD_REQUEST"),
    "no host": (b"GET /api/x HTTP/1.1\r\n\r\n", 400, "BAD_REQUEST"),
    "a broken escape": (b"GET /api/%zz" + END + b"\r\n", 400, "BAD_REQUEST"),
    "a NUL": (b"GET /api/%00" + END + b"\r\n", 400, "BAD_REQUEST"),
    "a way out": (b"GET /api/../../x" + END + b"\r\n", 400, "BAD_REQUEST"),
    "TRACE": (b"TRACE /api/x" + END + b"\r\n", 405, "METHOD_NOT_ALLOWED"),
    "a long address": (b"GET /api/" + LONG + END + b"\r\n", 414, "BAD_REQUEST"),
    "a long address after the name": (
        b"GET https://portico.test/api/" + LONG + END + b"\r\n",
        414,
        "BAD_REQUEST",
    ),
    "a long header": (b"GET /api/x" + END + b"X: " + LONG + b"\r\n\r\n", 431, "BAD_REQUEST"),
    "another coding": (b"POST /api/x" + END + b"Transfer-Encoding: x\r\n\r\n", 501, "BAD_REQUEST"),
    "another version": (b"GET /api/x HTTP/3.1\r\n" + NAMED + b"\r\n", 505, "BAD_REQUEST"),
}
#: Of the site alone, over https.
SITE = {
    "a large body": (b"POST /api/x" + END + b"Content-Length: 99999999\r\n\r\n", 413, "PAYLOAD_TOO_LARGE"),
    "an inner path": (b"GET /.env" + END + b"Accept: application/json\r\n\r\n", 404, "NOT_FOUND"),
}


def is_dressed(answer: Answer, *, secure: bool) -> None:
    """Each of the app's headers once; Strict-Transport-Security over https alone (RFC 6797 section 7.2)."""
    names = [name.lower() for name, _ in answer.lines]
    assert len(names) == len(set(names))
    for name, value in ALWAYS:
        assert answer.headers[name.lower()] == value
    assert answer.headers.get(HSTS[0].lower()) == (HSTS[1] if secure else None)
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
    assert answer.headers["content-security-policy"].startswith("default-src 'none'; ")


def is_an_envelope(answer: Answer, status: int, code: str) -> None:
    assert answer.status == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-security-policy"] == API_POLICY
    told = json.loads(answer.body)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", told.pop("timestamp"))
    message = told["error"].pop("message")
    assert message.endswith(".")
    request_id = answer.headers["x-request-id"]
    assert told == {"success": False, "error": {"code": code, "details": {}, "request_id": request_id}}


def is_a_page(answer: Answer, status: int) -> None:
    assert answer.status == status
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = answer.body.decode()
    assert f"Error {status} · request <code>{answer.headers['x-request-id']}</code>" in page
    assert re.search("<h1>[^<]+</h1>", page)
    assert "<!--" not in page
    assert "(none)" not in page


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_of_programs_are_dressed_as_the_apps(nginx: Nginx, case: str) -> None:
    request, status, code = REFUSED[case]
    for connection, secure in ((nginx.connect(), True), (plainly(nginx.http_port), False)):
        answer = ask_raw(connection, request)
        is_an_envelope(answer, status, code)
        is_dressed(answer, secure=secure)


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_of_people_are_pages(nginx: Nginx, case: str) -> None:
    request, status, _ = REFUSED[case]
    for connection, secure in ((nginx.connect(), True), (plainly(nginx.http_port), False)):
        answer = ask_raw(connection, request.replace(b"/api/", b"/auth/"))
        is_a_page(answer, status)
        is_dressed(answer, secure=secure)


@pytest.mark.parametrize("case", SITE)
def test_refusals_of_the_site_are_dressed_too(nginx: Nginx, case: str) -> None:
    request, status, code = SITE[case]
    answer = ask_raw(nginx.connect(), request)
    is_an_envelope(answer, status, code)
    is_dressed(answer, secure=True)
    page = ask_raw(nginx.connect(), request.replace(b"/api/", b"/auth/").replace(b"json", b"xml"))
    is_a_page(page, status)
    is_dressed(page, secure=True)


def test_line_that_can_not_be_read_gets_a_page(nginx: Nginx) -> None:
    answer = ask_raw(nginx.connect(), b"\x16\x03 /api/a\r\n\r\n")
    is_a_page(answer, 400)
    is_dressed(answer, secure=True)


def test_method_not_allowed_says_which_are(nginx: Nginx) -> None:
    answer = ask_raw(nginx.connect(), b"TRACE /" + END + b"\r\n")
    assert answer.headers["allow"] == "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/json", "application/json"),
        ("application/json, text/html;q=0.5", "application/json"),
        ("application/*", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"),
        ("text/html, application/json;q=0.5", "text/html; charset=utf-8"),
        ("*/*", "text/html; charset=utf-8"),
    ],
)
def test_readers_are_told_apart_by_what_they_accept(nginx: Nginx, accept: str, kind: str) -> None:
    for method in ("GET", "HEAD"):
        answer = ask(nginx, "/dev/mail", method=method, headers={"Accept": accept})
        assert (answer.status, answer.headers["content-type"]) == (404, kind)


def test_who_sends_json_is_answered_in_json(nginx: Nginx) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8", "Accept": "*/*"}
    answer = ask(nginx, "/dev/login", method="POST", body=b"{}", headers=headers)
    is_an_envelope(answer, 404, "NOT_FOUND")


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_names_and_other_ways_to_the_probe_are_dressed(nginx: Nginx, method: str) -> None:
    other = f"{method} /api/x HTTP/1.1\r\nHost: evil.test\r\nContent-Length: 0\r\n\r\n".encode()
    is_an_envelope(ask_raw(plainly(nginx.http_port), other), 421, "BAD_REQUEST")
    page = ask_raw(plainly(nginx.http_port), other.replace(b"/api/", b"/"))
    is_a_page(page, 421)
    is_dressed(page, secure=False)
    assert b"<a " not in page.body


def test_probe_by_address_takes_no_body_and_no_other_method(nginx: Nginx) -> None:
    probe = b"GET /health HTTP/1.1\r\nHost: 10.0.0.1\r\nX-Forwarded-For: 6.6.6.6\r\n"
    assert ask_raw(plainly(nginx.http_port), probe + b"\r\n").status == 200
    is_an_envelope(
        ask_raw(plainly(nginx.http_port), probe + b"Content-Length: 99\r\n\r\n"), 413, "PAYLOAD_TOO_LARGE"
    )
    is_an_envelope(ask_raw(plainly(nginx.http_port), b"DELETE" + probe[3:] + b"\r\n"), 403, "FORBIDDEN")


def test_redirect_to_https_bears_the_headers(nginx: Nginx) -> None:
    is_dressed(ask_raw(plainly(nginx.http_port), b"GET /a" + END + b"\r\n"), secure=False)


def test_absent_app_is_said_to_be_unavailable(tmp_path: Path) -> None:
    lonely = Nginx(tmp_path, "127.0.0.1:1")
    try:
        page, program = ask(lonely, "/auth/login"), ask(lonely, "/api/v1/status")
        is_a_page(page, 503)
        is_an_envelope(program, 503, "UNAVAILABLE")
        for answer in (page, program):
            is_dressed(answer, secure=True)
            assert answer.headers["retry-after"] == "5"
    finally:
        lonely.stop()


# ---- the log


def line_of(nginx: Nginx, request: bytes) -> dict[str, str]:
    """What the log says about one raw request."""
    log = nginx.folder / "access.log"
    number = ask_raw(nginx.connect(), request).headers["x-request-id"].encode()
    until(lambda: number in log.read_bytes(), seconds=5, what="the line")
    (line,) = [line for line in log.read_bytes().split(b"\n") if number in line]
    assert line.decode("ascii").isprintable()
    told: dict[str, str] = json.loads(line)
    return told


def test_log_has_no_query_and_no_referrer(nginx: Nginx) -> None:
    secret = b"one-time-and-secret"
    referrer = b"Referer: https://portico.test/auth/reset-password?token=" + secret + b"\r\n"
    line = line_of(nginx, b"GET /auth/reset-password?token=" + secret + END + referrer + b"\r\n")
    assert line["path"] == "/auth/reset-password"
    assert line["logger"] == "nginx"
    assert secret.decode() not in json.dumps(line)


@pytest.mark.parametrize(
    "request_line", [b"GET /a?token=SECRET x", b"GET /a?token=SECRET" + LONG + b" HTTP/1.1"]
)
def test_refused_line_leaves_no_query_in_any_log(nginx: Nginx, request_line: bytes) -> None:
    line_of(nginx, request_line + b"\r\n" + NAMED + b"\r\n")
    for log in ("access.log", "error.log"):
        assert b"SECRET" not in (nginx.folder / log).read_bytes()


@pytest.mark.parametrize(
    ("sent", "written"),
    [
        (b'/a"b\\c', '/a"b\\c'),
        (b"/caf\xc3\xa9?token=1", "/caf (cut)"),
        (b"/\xff\xfe", "/ (cut)"),
        (b"/a\xc2\x9b31mb", "/a (cut)"),
        (b"/a%0d%0ab%1b", "/a%0d%0ab%1b"),
        (b"/a#b?token=1", "/a"),
    ],
)
def test_log_is_ascii_whatever_was_sent(nginx: Nginx, sent: bytes, written: str) -> None:
    line = line_of(nginx, b"GET " + sent + END + b"\r\n")
    assert line["path"] == written


def test_log_names_the_method_and_the_time_in_utc(nginx: Nginx) -> None:
    line = line_of(nginx, b"POST /.env" + END + b"Content-Length: 0\r\n\r\n")
    assert (line["method"], line["path"], line["status"]) == ("POST", "/.env", "404")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", line["timestamp"])


def test_times_are_utc_in_any_zone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    elsewhere = Nginx(tmp_path, "127.0.0.1:1")
    try:
        is_an_envelope(ask(elsewhere, "/api/x", headers={"Host": HOST}), 503, "UNAVAILABLE")
    finally:
        elsewhere.stop()
