"""What an issuer, or somebody in its place, might answer (security cases A86, A89, F31)."""

import hmac
import json
import threading
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from flask import Flask
from werkzeug.wrappers import Response

from services import issuer_service, outbound
from tests.clients import PageClient, browser
from tests.factories import Person
from tests.integration.oidc.desk import come_back, connect, identities, sign_in, way_out
from tests.integration.pages.desk import is_signed_in
from tests.issuer import CLIENT_ID, CLIENT_SECRET, Claims, FakeIssuer, signer
from tests.state import unchanged


def refused(app: Flask, client: PageClient, issuer: FakeIssuer) -> int:
    """The status of a return that changes nothing and signs nobody in."""
    back = issuer.authorize(way_out(client))
    with unchanged(app, but=("audit_events",)):
        answer = come_back(client, back)
    assert not is_signed_in(client)
    assert identities(app) == []
    return answer.status_code


def without(name: str) -> Callable[[Claims], Claims]:
    return lambda claims: {key: value for key, value in claims.items() if key != name}


def with_(**changes: Any) -> Callable[[Claims], Claims]:
    return lambda claims: claims | changes


@pytest.mark.parametrize(
    "change",
    [
        with_(iss="https://evil.example"),
        without("iss"),
        with_(aud="another-client"),
        with_(aud=[CLIENT_ID, "another-client"]),
        with_(aud=[]),
        without("aud"),
        with_(azp="another-client"),
        with_(azp=None),
        with_(exp=int(time.time()) - 120),
        with_(exp="soon"),
        without("exp"),
        with_(nbf=int(time.time()) + 600),
        with_(iat=int(time.time()) + 600),
        with_(iat=int(time.time()) - 3600),
        without("iat"),
        with_(nonce="another"),
        with_(nonce=None),
        with_(nonce=7),
        without("nonce"),
        with_(sub=""),
        with_(sub=7),
        with_(sub="x" * 256),
        with_(sub="a\x00b"),
        without("sub"),
        with_(auth_time=int(time.time()) - 90_000),
        with_(auth_time="yesterday"),
        with_(auth_time=True),
    ],
)
def test_a_token_with_wrong_claims_is_refused(
    issuer: FakeIssuer, app: Flask, client: PageClient, change: Callable[[Claims], Claims]
) -> None:
    issuer.claim_changes = change
    assert refused(app, client, issuer) == 401


def test_the_other_realm_of_the_same_host_is_somebody_else(
    issuer: FakeIssuer, other: FakeIssuer, app: Flask, client: PageClient
) -> None:
    """Mix-up: the other realm's key and name, in the place of ours."""
    issuer.make_token = lambda claims: other.sign(claims | {"iss": other.url})
    assert refused(app, client, issuer) == 401


def test_an_answer_that_names_another_issuer_is_refused(
    issuer: FakeIssuer, other: FakeIssuer, client: PageClient
) -> None:
    for named in (other.url, "", None):
        back = issuer.authorize(way_out(client))
        assert come_back(client, back, iss=named).status_code == 401
    assert "/token" not in issuer.requests  # the code went nowhere


def test_an_issuer_that_does_not_name_itself_need_not(issuer: FakeIssuer, client: PageClient) -> None:
    issuer.metadata_changes = {"authorization_response_iss_parameter_supported": None}
    assert come_back(client, issuer.authorize(way_out(client)), iss=None).status_code == 303


def unsigned(claims: Claims) -> str:
    return jwt.encode(claims, "", algorithm="none")


def by_secret(claims: Claims) -> str:
    return jwt.encode(claims, CLIENT_SECRET * 2, algorithm="HS256", headers={"kid": "first"})


def by_public_key(claims: Claims) -> str:
    """The published key as an HMAC's secret (CVE-2022-29217); the library would not sign so, an attacker does."""
    parts = [{"alg": "HS256", "kid": "first"}, claims]
    text = b".".join(jwt.utils.base64url_encode(json.dumps(part).encode()) for part in parts)
    signature = hmac.digest(json.dumps(signer().jwk()).encode(), text, "sha256")
    return b".".join([text, jwt.utils.base64url_encode(signature)]).decode()


@pytest.mark.parametrize(
    "make", [unsigned, by_secret, by_public_key, lambda _: "", lambda _: "a.b.c", lambda _: "x" * 20_000]
)
def test_a_token_that_is_not_signed_by_the_issuer_is_refused(
    issuer: FakeIssuer, app: Flask, client: PageClient, make: Callable[[Claims], str]
) -> None:
    issuer.make_token = make
    assert refused(app, client, issuer) == 401


def test_a_key_that_the_issuer_does_not_publish_counts_nothing(
    issuer: FakeIssuer, app: Flask, client: PageClient
) -> None:
    issuer.signs_with = signer("unknown")
    assert refused(app, client, issuer) == 401
    stranger = signer("stranger")
    stranger.id = "first"
    issuer.signs_with = stranger
    assert refused(app, client, issuer) == 401


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "at+jwt"},
        {"typ": "logout+jwt"},
        {"kid": "../../etc/passwd"},
        {"kid": "unknown"},
        {"crit": ["x"], "x": 1},
    ],
)
def test_a_token_with_a_wrong_header_is_refused(
    issuer: FakeIssuer, app: Flask, client: PageClient, header: dict[str, Any]
) -> None:
    issuer.header_changes = header
    assert refused(app, client, issuer) == 401


def test_a_key_in_the_token_itself_is_not_followed(
    issuer: FakeIssuer, app: Flask, client: PageClient
) -> None:
    own = signer("own")
    issuer.signs_with = own
    issuer.header_changes = {"kid": "first", "jwk": own.jwk(), "jku": f"{issuer.url}/evil"}
    assert refused(app, client, issuer) == 401
    assert "/evil" not in issuer.requests


@pytest.mark.parametrize("changes", [{"sub": "auth0|bob"}, {"sub": None}])
def test_userinfo_of_another_subject_is_refused(
    issuer: FakeIssuer, app: Flask, client: PageClient, changes: Claims
) -> None:
    issuer.in_userinfo_only = True
    issuer.userinfo_changes = changes
    assert refused(app, client, issuer) == 401


def test_a_new_key_is_found_and_unknown_ones_are_looked_for_once_a_minute(
    issuer: FakeIssuer, app: Flask, client: PageClient
) -> None:
    sign_in(client, issuer)
    issuer.keys = [signer("second", "ES256"), *issuer.keys]
    assert sign_in(browser(app), issuer).status_code == 303
    fetched = issuer.requests.count("/keys")
    issuer.signs_with = signer("unknown", "ES256")
    for _ in range(3):
        assert sign_in(browser(app), issuer).status_code == 401
    assert issuer.requests.count("/keys") == fetched


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"authorization_endpoint": "https://evil.example/authorize"},
        {"token_endpoint": "http://169.254.169.254/token"},
        {"token_endpoint": None},
        {"token_endpoint": 7},
        {"jwks_uri": "https://10.0.0.1/keys"},
        {"jwks_uri": "file:///etc/passwd"},
        {"jwks_uri": "http://user@127.0.0.1/keys"},
        {"userinfo_endpoint": "http://127.0.0.1:1/userinfo"},
    ],
)
def test_a_discovery_document_that_points_elsewhere_is_refused(
    issuer: FakeIssuer, client: PageClient, change: Claims
) -> None:
    issuer.metadata_changes = change
    assert client.get("/auth/oidc/start").status_code == 503


@pytest.mark.parametrize(
    "answer",
    [
        Response(status=302, headers={"Location": "/elsewhere"}),
        Response("no json"),
        Response("[]"),
        Response("[" * 100_000),
        Response("{" + " " * 1_100_000 + "}"),
        Response(status=500),
    ],
)
def test_a_discovery_document_that_is_none_is_a_503(
    issuer: FakeIssuer, client: PageClient, answer: Response
) -> None:
    issuer.answers["/openid-configuration"] = answer
    refusal = client.get("/auth/oidc/start")
    assert refusal.status_code == 503
    assert int(refusal.headers["Retry-After"]) > 0
    assert "/elsewhere" not in issuer.requests


@pytest.mark.parametrize("status", [302, 401, 429, 500, 503])
def test_a_token_endpoint_in_trouble_is_a_503(issuer: FakeIssuer, client: PageClient, status: int) -> None:
    issuer.answers["/token"] = Response("{}", status=status, headers={"Location": "/x"})
    assert sign_in(client, issuer).status_code == 503
    assert not is_signed_in(client)


def test_while_the_issuer_hangs_passwords_work_and_it_is_asked_once(
    issuer: FakeIssuer, app: Flask, client: PageClient, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbound, "SECONDS", 0.4)
    issuer.hangs.add("/openid-configuration")
    began = time.monotonic()
    answers = [browser(app).get("/auth/oidc/start").status_code for _ in range(4)]
    assert answers == [503] * 4
    assert time.monotonic() - began < 3
    assert issuer.requests.count("/openid-configuration") == 1
    assert client.sign_in(alice).status_code == 303
    issuer.resume.set()


def test_what_is_known_of_the_issuer_serves_on_while_it_is_away(
    issuer: FakeIssuer, app: Flask, client: PageClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_in(client, issuer)
    issuer.answers["/openid-configuration"] = Response(status=500)
    issuer.answers["/keys"] = Response(status=500)
    later = time.monotonic() + issuer_service.FRESH_SECONDS + 60
    monkeypatch.setattr(issuer_service, "_clock", lambda: later)
    assert sign_in(browser(app), issuer).status_code == 303
    monkeypatch.setattr(issuer_service, "_clock", lambda: later + issuer_service.STALE_SECONDS)
    assert browser(app).get("/auth/oidc/start").status_code == 503


def test_one_caller_asks_while_the_others_wait(issuer: FakeIssuer, app: Flask) -> None:
    found: list[Any] = []

    def ask() -> None:
        found.append(app.extensions["issuer"].metadata())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert issuer.requests == ["/openid-configuration"]


def test_an_identity_that_is_known_is_refused_just_so(
    issuer: FakeIssuer, app: Flask, client: PageClient, alice: Person
) -> None:
    connect(app, alice, issuer)
    issuer.claim_changes = with_(nonce="another")
    assert sign_in(client, issuer).status_code == 401
    assert not is_signed_in(client)
