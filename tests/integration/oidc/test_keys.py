"""The issuer's published keys: what is none, or can't be told apart, replaces no good ones."""

import json
import time
from typing import Any

import pytest
from flask import Flask
from werkzeug.wrappers import Response

from services import issuer_service
from tests.clients import Api, browser
from tests.factories import Person
from tests.integration.oidc.desk import connect, sign_in
from tests.issuer import FakeIssuer, signer

SYMMETRIC = {"kty": "oct", "kid": "first", "k": "c2VjcmV0"}
ODD = [{"kty": []}, {"kty": "EC", "crv": {}}, {"kty": "RSA", "key_ops": 7}, {"kty": "RSA", "n": 1, "e": []}]


def published(*keys: Any) -> Response:
    return Response(json.dumps({"keys": keys}), content_type="application/json")


def first(**changes: Any) -> dict[str, Any]:
    return {**signer().jwk(), **changes}


BAD = {
    "none": published(),
    "no list": Response('{"keys": {}}'),
    "null": Response('{"keys": null}'),
    "unusable types": published(SYMMETRIC, {"kty": "PBES2"}),
    "for encryption only": published(first(use="enc"), first(use=None, key_ops=["encrypt"])),
    "odd types": published(*ODD, "key", None, 7),
    "two of one name": published(first(), {**signer("second").jwk(), "kid": "first"}),
    "too many": published(*[first(kid=str(number)) for number in range(101)]),
    "a page": Response("<html>Down for maintenance</html>", content_type="text/html"),
    "too large": Response(json.dumps({"keys": [first()], "x": "x" * 1_100_000})),
    "another status": Response(json.dumps({"keys": [first()]}), status=203),
}


@pytest.mark.parametrize("bad", BAD)
def test_bad_keys_replace_no_good_ones(
    issuer: FakeIssuer, app: Flask, alice: Person, monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    connect(app, alice, issuer)
    program = Api(app, issuer.access_token())
    assert program.get("/users/me").status_code == 200
    issuer.answers["/keys"] = BAD[bad]
    later = time.monotonic() + issuer_service.FRESH_SECONDS + 60
    monkeypatch.setattr(issuer_service, "_clock", lambda: later)
    assert program.get("/users/me").status_code == 200
    assert sign_in(browser(app), issuer).status_code == 303


@pytest.mark.parametrize("bad", BAD)
def test_without_good_keys_bad_ones_are_a_503_until_there_are_good_ones(
    issuer: FakeIssuer, app: Flask, alice: Person, monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    connect(app, alice, issuer)
    program = Api(app, issuer.access_token())
    issuer.answers["/keys"] = BAD[bad]
    assert program.get("/users/me").status_code == 503
    del issuer.answers["/keys"]
    later = time.monotonic() + issuer_service.PAUSE_SECONDS + 1
    monkeypatch.setattr(issuer_service, "_clock", lambda: later)
    assert program.get("/users/me").status_code == 200


def test_an_unknown_key_name_makes_nobody_forget_the_good_keys(
    issuer: FakeIssuer, app: Flask, alice: Person
) -> None:
    connect(app, alice, issuer)
    program = Api(app, issuer.access_token())
    assert program.get("/users/me").status_code == 200
    issuer.answers["/keys"] = published()
    issuer.header_changes = {"kid": "unknown"}
    assert Api(app, issuer.access_token()).get("/users/me").status_code == 401
    assert issuer.requests.count("/keys") == 2
    assert program.get("/users/me").status_code == 200


def test_one_name_for_two_kinds_of_key_is_told_apart(issuer: FakeIssuer, app: Flask, alice: Person) -> None:
    connect(app, alice, issuer)
    other = signer("first", "ES256")
    issuer.keys = [signer(), other]
    assert Api(app, issuer.access_token()).get("/users/me").status_code == 200
    issuer.signs_with = other
    assert Api(app, issuer.access_token()).get("/users/me").status_code == 200


def test_what_is_no_key_beside_a_good_one_does_not_matter(
    issuer: FakeIssuer, app: Flask, alice: Person
) -> None:
    connect(app, alice, issuer)
    issuer.answers["/keys"] = published(*ODD, SYMMETRIC, first())
    assert Api(app, issuer.access_token()).get("/users/me").status_code == 200
