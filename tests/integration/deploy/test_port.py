"""Portico itself behind nginx, reached on another port than 443: forms, links and redirects know it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from localdb.testing import Databases
from tests.integration.deploy.asking import NAMED, Answer, ask, ask_raw, plainly
from tests.integration.deploy.servers import HOST, NGINX, ROOT, Gunicorn, Nginx, free_port, until
from tests.integration.faults.servers import PRODUCTION

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.skipif(not Path(NGINX).exists(), reason="nginx is not installed"),
]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What Portico writes."""
    return tmp_path_factory.mktemp("portico") / "log"


@pytest.fixture(scope="module")
def nginx(test_databases: Databases, log: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """nginx on its free port, and Portico with production settings behind it."""
    port = free_port()
    folder = tmp_path_factory.mktemp("nginx")
    with test_databases.fresh_database("port") as url:
        front = Nginx(folder, f"127.0.0.1:{port}")
        settings = {
            **PRODUCTION,
            "FLASK_CONFIG": "production",
            "BASE_URL": f"https://{HOST}:{front.https_port}",
            "TRUSTED_PROXIES": "127.0.0.1",
            "SECURITY_CONTACT": "mailto:security@portico.test",
            "DATABASE_URL": url,
        }
        server = Gunicorn(ROOT, "app", log, port=port, **settings)
        yield front
        server.kill()
        front.stop()


def sign_in(nginx: Nginx, **headers: str) -> Answer:
    """Fill in the form of the sign-in page, with a wrong password, as a browser sends it."""
    page = ask(nginx, "/auth/login")
    assert page.status == 200
    cookies = [value.partition(";")[0] for name, value in page.lines if name.lower() == "set-cookie"]
    found = re.search(rb'name="csrf_token"[^>]*value="([^"]+)"', page.body)
    assert found is not None
    form = {"csrf_token": found[1].decode(), "email": "nobody@example.com", "password": "wrong horse battery"}
    kind = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": "; ".join(cookies)}
    return ask(
        nginx, "/auth/login", method="POST", body=urlencode(form).encode(), headers={**kind, **headers}
    )


def test_form_is_taken_from_the_sites_own_origin(nginx: Nginx) -> None:
    own = f"https://{HOST}:{nginx.https_port}"
    answer = sign_in(nginx, Origin=own, Referer=f"{own}/auth/login", **{"Sec-Fetch-Site": "same-origin"})
    assert answer.status == 401


@pytest.mark.parametrize("origin", [f"https://{HOST}", f"https://{HOST}:1", "https://evil.test", "null"])
def test_form_from_another_port_of_the_same_name_is_refused(nginx: Nginx, origin: str) -> None:
    assert sign_in(nginx, Origin=origin).status == 403


def test_http_leads_to_the_port(nginx: Nginx) -> None:
    answer = ask_raw(plainly(nginx.http_port), b"GET /auth/login HTTP/1.1\r\n" + NAMED + b"\r\n")
    assert (answer.status, answer.headers["location"]) == (
        308,
        f"https://{HOST}:{nginx.https_port}/auth/login",
    )


def test_links_have_the_port(nginx: Nginx) -> None:
    told = ask(nginx, "/.well-known/security.txt").body.decode()
    assert f"Canonical: https://{HOST}:{nginx.https_port}/.well-known/security.txt" in told


def test_no_redirect_leaves_the_port_or_tells_an_inner_one(nginx: Nginx) -> None:
    own = f"https://{HOST}:{nginx.https_port}/"
    for path in ("/account", "/admin/users", "/auth/login/", "/static", "/static/", "/api", "/admin"):
        location = ask(nginx, path).headers.get("location", "/")
        assert location.startswith((own, "/")), (path, location)
        assert not location.startswith("//"), (path, location)


def test_authorization_reaches_the_app(nginx: Nginx) -> None:
    answer = ask(nginx, "/api/v1/users/me", headers={"Authorization": "Bearer forged"})
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (401, "INVALID_TOKEN")


def test_refusal_of_the_server_is_in_the_apps_log_without_its_query(nginx: Nginx, log: Path) -> None:
    answer = ask(nginx, f"/api/v1/long?token=SECRET{'a' * 5000}")
    assert answer.status == 414
    request_id = answer.headers["x-request-id"]
    until(lambda: request_id in log.read_text(), seconds=3, what="the line")
    lines = [json.loads(line) for line in log.read_text().splitlines() if request_id in line]
    assert [(line["status"], line["method"], line["path"]) for line in lines] == [
        (414, "GET", "/api/v1/long")
    ]
    assert "SECRET" not in log.read_text()
