"""Which names the site answers to, in production and in development, and what the others get (A59; DNS rebinding)."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import create_environ, run_wsgi_app

from app import create_app
from tests.clients import PageClient, browser
from tests.conftest import dispose
from tests.integration.security.test_headers import EVERYWHERE
from tests.unit.settings.settings import GOOD

AWAY = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}  # nothing here asks it
FOREIGN = [
    "evil.example",
    "app.example.com.evil.example",
    "evilapp.example.com",
    "127.0.0.1",
    "[::1]:8000",
    "a..b",
]
INVALID = [
    "app.example.com@evil.example", "app.example.com:80@evil", "app.example.com, evil.example", "app.example.com/x",
    "app.example.com:99999", "app.example.com:0", "app.example.com:x", "app.example.com..", "[app.example.com]",
    "", " ", "a b", "app.example.com\t", ":443", ".", "*", ".example.org", "::1", "x" * 64 + ".example.org", "\xe9",
]  # fmt: skip


@pytest.fixture
def make() -> Iterator[Callable[..., Flask]]:
    """Applications of any environment."""
    made: list[Flask] = []

    def create(environment: str, **settings: Any) -> Flask:
        made.append(create_app(environment, **{**AWAY, **settings}))
        made[-1].test_client_class = PageClient
        return made[-1]

    yield create
    for app in made:
        dispose(app)


@pytest.fixture(scope="module")
def production() -> Iterator[Flask]:
    """Production, for all tests: it keeps nothing."""
    app = create_app("production", **{**GOOD, **AWAY, "TRUSTED_HOSTS": "WWW.example.com,.example.org"})
    app.test_client_class = PageClient
    yield app
    dispose(app)


@pytest.fixture
def site(production: Flask) -> PageClient:
    """A browser there."""
    return browser(production)


def ask(client: PageClient, path: str, host: str, method: str = "GET", **more: Any) -> Any:
    headers = {"Host": host, **more.pop("headers", {})}
    return client.open(path, method=method, headers=headers, base_url="https://ignored", **more)


@pytest.mark.parametrize(
    "host",
    [
        "app.example.com", "APP.Example.COM", "app.example.com.", "app.example.com:443", "app.example.com:8443",
        "App.example.com.:443", "app.example.com:", "www.example.com", "WWW.EXAMPLE.COM", "a.example.org",
        "a.b.example.org.:80",
    ],
)  # fmt: skip
def test_own_names_are_answered_in_every_spelling(site: PageClient, host: str) -> None:
    assert ask(site, "/", host).status_code == 200
    assert ask(site, "/auth/login", host).status_code == 200
    assert ask(site, "/api/v1/status", host).status_code == 200


@pytest.mark.parametrize("host", FOREIGN + INVALID)
def test_a_foreign_host_gets_a_finished_refusal(site: PageClient, host: str) -> None:
    page, call = ask(site, "/auth/login", host), ask(site, "/api/v1/status", host)
    assert (page.status_code, call.status_code) == (400, 400)
    assert "<h1" in page.text
    assert call.json["error"]["code"] == "BAD_REQUEST"
    for answer in (page, call):
        check_headers(answer)
        assert "evil" not in answer.text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("HEAD", "/"),
        ("GET", "/dashboard"),
        ("GET", "/nope"),
        ("GET", "/healthy"),
        ("GET", "/auth/login/"),
        ("GET", "/static/css/app.css"),
        ("GET", "/static/nope.css"),
        ("GET", "/media/pictures/0123456789abcdef0123456789abcdef.webp"),
        ("GET", "/.well-known/security.txt"),
        ("GET", "/problems"),
        ("POST", "/auth/login"),
        ("DELETE", "/auth/login"),
        ("OPTIONS", "/auth/login"),
    ],
)
def test_no_door_is_open_to_a_foreign_host(site: PageClient, method: str, path: str) -> None:
    answer = ask(site, path, "evil.example", method)
    assert answer.status_code == 400
    assert answer.mimetype == "text/html"
    check_headers(answer)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/nope"),
        ("POST", "/api/v1/auth/login"),
        ("GET", "/api/v1/health"),
        ("POST", "/auth/login"),
    ],
)
def test_programs_get_the_refusal_in_the_envelope(site: PageClient, method: str, path: str) -> None:
    answer = ask(site, path, "evil.example", method, json={"email": "a@example.com"})
    assert answer.status_code == 400
    assert answer.json["error"]["code"] == "BAD_REQUEST"
    assert answer.json["error"]["request_id"] == answer.headers["X-Request-ID"]
    check_headers(answer)


@pytest.mark.parametrize("host", FOREIGN + INVALID)
def test_probes_are_answered_under_every_host(site: PageClient, host: str) -> None:
    assert ask(site, "/health", host).json["status"] == "healthy"
    assert ask(site, "/health/ready", host).status_code == 503  # the database is away, and it says so
    assert ask(site, "/health/nope", host).status_code == 404


def test_probes_are_answered_without_a_host_and_over_http(make: Callable[..., Flask]) -> None:
    app = make("production", **{**GOOD, **AWAY, "TRUSTED_HOSTS": "app.example.com"})
    assert app.test_client().get("/health", base_url="http://10.0.0.5:8000").status_code == 200
    for path, status in (("/health", 200), ("/", 400), ("/api/v1/status", 400)):
        environ = create_environ(path, "https://10.0.0.5", environ_overrides={"SERVER_PROTOCOL": "HTTP/1.0"})
        del environ["HTTP_HOST"]
        assert run_wsgi_app(app, environ)[1].startswith(str(status))


def test_redirects_and_links_never_bear_a_foreign_name(site: PageClient) -> None:
    told = ask(site, "/health/ready/", "evil.example")
    assert "evil" not in str(told.headers) + told.text


def test_an_address_as_the_sites_own_name_is_answered(make: Callable[..., Flask]) -> None:
    settings = {
        **GOOD,
        **AWAY,
        "BASE_URL": "https://[2001:DB8::1]:8443",
        "TRUSTED_HOSTS": "192.0.2.7,2001:db8::7",
    }
    client = browser(make("production", **settings))
    for host in (
        "[2001:db8::1]:8443",
        "[2001:DB8:0::1]",
        "192.0.2.7:80",
        "[::ffff:192.0.2.7]",
        "[2001:db8::7]",
    ):
        assert ask(client, "/auth/login", host).status_code == 200
    for host in ("[2001:db8::2]", "192.0.2.8", "2001:db8::1"):
        assert ask(client, "/auth/login", host).status_code == 400


# ---- development

MAILS = "/dev/mail.json"
OWN = [
    "localhost", "localhost:5000", "LOCALHOST.", "app.localhost:5000", "127.0.0.1:5000", "127.8.9.10", "[::1]:5000",
    "[::ffff:127.0.0.1]",
]  # fmt: skip
STRANGERS = [
    "evil.example:5000",
    "localhost.evil.example",
    "evillocalhost",
    "192.168.1.5:5000",
    "127.0.0.1.nip.io",
]
PLACES = ["/dev/mail.json", "/dev/mail", "/", "/auth/setup", "/api/v1/status", "/static/css/app.css", "/nope"]


def statuses(app: Flask, hosts: list[str], path: str = "/auth/forgot-password") -> set[int]:
    return {browser(app).get(path, headers={"Host": host}).status_code for host in hosts}


def test_development_answers_to_this_machine_alone(make: Callable[..., Flask]) -> None:
    app = make("development")
    assert statuses(app, OWN) == {200}
    for path in PLACES:
        assert statuses(app, STRANGERS, path) == {400}
    assert statuses(app, STRANGERS + OWN, "/health") == {200}


def test_the_refusal_in_development_says_what_to_set(make: Callable[..., Flask]) -> None:
    client = browser(make("development"))
    page = client.get("/", headers={"Host": "devbox.lan:5000"})
    call = client.get("/api/v1/status", headers={"Host": "devbox.lan:5000"})
    assert "TRUSTED_HOSTS" in page.text
    assert "TRUSTED_HOSTS" in call.json["error"]["message"]
    check_headers(page)


@pytest.mark.parametrize(
    ("settings", "answered", "refused"),
    [
        (
            {"TRUSTED_HOSTS": "devbox.lan,.app.github.dev"},
            ["devbox.lan:5000", "x-5000.app.github.dev"],
            STRANGERS,
        ),
        ({"BASE_URL": "http://devbox.lan:5000"}, ["devbox.lan:5000"], STRANGERS),
        ({"FLASK_HOST": "192.168.1.5"}, ["192.168.1.5:5000"], ["192.168.1.6", "evil.example"]),
        ({"FLASK_HOST": "devbox.lan"}, ["devbox.lan:5000"], STRANGERS),
        (
            {"FLASK_HOST": "0.0.0.0"},
            ["192.168.1.5:5000", "[2001:db8::5]:5000"],
            ["evil.example", "127.0.0.1.nip.io"],
        ),
        ({"FLASK_HOST": "::"}, ["192.168.1.5:5000", "[fd00::5]"], ["evil.example"]),
        ({"TRUSTED_HOSTS": "*"}, STRANGERS, ["evil.example:80@x"]),
    ],
)
def test_who_wants_to_be_reached_elsewhere_in_development_says_so(
    make: Callable[..., Flask], settings: dict[str, str], answered: list[str], refused: list[str]
) -> None:
    app = make("development", **settings)
    assert statuses(app, OWN + answered) == {200}
    assert statuses(app, refused) == {400}


def check_headers(answer: Any) -> None:
    """What every answer bears, once."""
    assert {name: answer.headers.getlist(name) for name in EVERYWHERE} == {
        name: [value] for name, value in EVERYWHERE.items()
    }
    for name in ("Content-Security-Policy", "X-Request-ID", "Cache-Control", "Permissions-Policy"):
        assert len(answer.headers.getlist(name)) == 1
