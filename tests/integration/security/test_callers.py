"""One caller, one address: however the socket or a proxy writes it, it is counted, kept and shown in one form."""

import logging
from typing import Any

import pytest
from flask import Flask

from blueprints.http.proxies import Proxies
from tests.clients import Api, PageClient, browser
from tests.factories import Person
from tests.integration.pages.desk import mails_to
from tests.integration.security.guessing import guess

MAPPED = {"REMOTE_ADDR": "::ffff:203.0.113.7"}


@pytest.fixture
def behind(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The application behind proxies: a function that says which are trusted."""

    def trust(*networks: str) -> None:
        monkeypatch.setattr(app.wsgi_app, "proxies", Proxies(networks))

    return trust


def test_one_ipv4_guesser_on_an_ipv6_socket_keeps_no_other_out(api: Api, alice: Person) -> None:
    statuses = [
        guess(api, f"somebody{n}@example.com", address="::ffff:203.0.113.7").status_code for n in range(21)
    ]
    assert statuses == [401] * 20 + [429]
    assert guess(api, alice.email, alice.password, address="::ffff:198.51.100.1").status_code == 200
    assert guess(api, alice.email, alice.password, address="203.0.113.7").status_code == 429


def test_neighbours_in_one_ipv6_network_are_counted_together_whatever_their_zone(api: Api) -> None:
    for n in range(20):
        guess(api, f"somebody{n}@example.com", address=f"2001:db8::{n + 1:x}%eth0")
    assert guess(api, "another@example.com", address="2001:DB8:0:0:ffff::1").status_code == 429
    assert guess(api, "another@example.com", address="2001:db8:0:1::1").status_code == 401


def test_the_plain_address_is_kept_shown_and_mailed(
    app: Flask, client: PageClient, api: Api, alice: Person, caplog: pytest.LogCaptureFixture
) -> None:
    client.environ_base.update(MAPPED)
    with caplog.at_level(logging.INFO, logger="portico.access"):
        client.sign_in(alice)
    lines: list[Any] = [record.msg for record in caplog.records if record.name == "portico.access"]
    assert {line["address"] for line in lines} == {"203.0.113.7"}
    for path in ("/account/devices", "/account/history"):
        page = client.get(path).text
        assert "203.0.113.7" in page
        assert "ffff" not in page
    event = api.as_(alice).get("/users/me/events?filter[action]=account:login:success").json["data"][0]
    assert event["ip"] == "203.0.113.7"
    browser(app).submit("/auth/forgot-password", email=alice.email)
    client.submit("/auth/forgot-password", email=alice.email)
    texts = "".join(mail.text for mail in mails_to(app, alice.email))
    assert "203.0.113.7" in texts
    assert "ffff" not in texts


def test_a_proxy_on_an_ipv6_socket_is_believed(
    app: Flask, behind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else every request would be redirected to https for ever."""
    monkeypatch.setattr(app.wsgi_app, "force_https", True)
    behind("127.0.0.1")
    answer = app.test_client().get(
        "/", headers={"X-Forwarded-Proto": "https"}, environ_base={"REMOTE_ADDR": "::ffff:127.0.0.1"}
    )
    assert answer.status_code == 200
    assert "Strict-Transport-Security" in answer.headers


def test_each_caller_behind_a_proxy_is_counted_by_itself(api: Api, behind: Any, alice: Person) -> None:
    behind("127.0.0.1", "10.0.0.0/8")

    def through(caller: str, email: str, password: str = "wrong horse battery") -> int:
        headers = {"X-Forwarded-For": f"6.6.6.6, {caller}, 10.0.0.2:8080"}
        body = {"email": email, "password": password}
        return int(api.post("/auth/login", body, headers=headers).status_code)

    ports = [through(f"203.0.113.9:{50_000 + n}", f"somebody{n}@example.com") for n in range(21)]
    assert ports == [401] * 20 + [429]
    assert through("[2001:db8::9]:443", alice.email, alice.password) == 200


@pytest.mark.parametrize(("schemes", "status"), [("https, http", 200), ("HTTPS", 200), ("http, https", 308)])
def test_the_callers_scheme_decides_through_two_proxies(
    app: Flask, behind: Any, monkeypatch: pytest.MonkeyPatch, schemes: str, status: int
) -> None:
    monkeypatch.setattr(app.wsgi_app, "force_https", True)
    behind("127.0.0.1", "10.0.0.2")
    headers = {"X-Forwarded-For": "203.0.113.9, 10.0.0.2", "X-Forwarded-Proto": schemes}
    assert app.test_client().get("/", headers=headers).status_code == status
