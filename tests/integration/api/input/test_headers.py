"""Methods and headers: which are refused, which are ignored, and what every answer says of itself."""

import pytest
from flask import Flask

from tests.clients import Api
from tests.factories import Person
from tests.integration.api.input.refusals import JSON, fields, refused
from tests.state import unchanged


@pytest.mark.parametrize("method", ["POST", "TRACE", "CONNECT", "FOO", "PROPFIND", "G" * 100])
def test_another_method_is_not_allowed(app: Flask, api: Api, ada: Person, method: str) -> None:
    caller = api.as_(ada)
    with unchanged(app):
        answer = caller.call(method, "/users/me")
    refused(answer, 405, "METHOD_NOT_ALLOWED")
    assert set(answer.headers["Allow"].split(", ")) == {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH"}


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
def test_a_method_override_is_ignored(app: Flask, api: Api, ada: Person, bob: Person, name: str) -> None:
    caller = api.as_(ada)
    with unchanged(app):
        assert caller.get(f"/users/{bob.id}", headers={name: "DELETE"}).status_code == 200
        answer = caller.get(f"/users?_method=DELETE&{name}=DELETE")
        assert "_method" in fields(refused(answer, 422, "VALIDATION_ERROR"))


def test_head_is_get_without_the_body(app: Flask, api: Api, ada: Person) -> None:
    caller = api.as_(ada)
    for path in ("/users/me", "/users", "/roles", "/status", "/users/0", "/audit-events?page=0"):
        got, head = caller.get(path), caller.call("HEAD", path)
        assert head.status_code == got.status_code
        assert not head.data
        assert int(head.headers["Content-Length"]) == len(got.data) or path == "/status"
        assert {name for name, _ in head.headers} == {name for name, _ in got.headers}


def test_what_you_have_is_not_sent_again(api: Api, ada: Person) -> None:
    caller = api.as_(ada)
    first = caller.get("/users/me")
    tag = first.headers["ETag"]
    for given in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        again = caller.get("/users/me", headers={"If-None-Match": given})
        assert again.status_code == 304
        assert not again.data
        assert again.headers["ETag"] == tag
        assert "Content-Type" not in again.headers
    assert caller.get("/users/me", headers={"If-None-Match": '"x"'}).status_code == 200


@pytest.mark.parametrize("tags", ["x", '"x"', "W/{tag}", ",", '"', '"\u00e9"', " "])
def test_a_tag_that_does_not_match_stops_the_change(app: Flask, api: Api, ada: Person, tags: str) -> None:
    caller = api.as_(ada)
    tag = caller.get("/users/me").headers["ETag"]
    with unchanged(app):
        answer = caller.patch("/users/me", {"name": "New"}, headers={"If-Match": tags.format(tag=tag)})
    refused(answer, 412, "PRECONDITION_FAILED")


def test_a_tag_that_matches_lets_the_change_through(api: Api, ada: Person) -> None:
    caller = api.as_(ada)
    tag = caller.get("/users/me").headers["ETag"]
    assert caller.patch("/users/me", {"name": "New"}, headers={"If-Match": f'"x", {tag}'}).status_code == 200
    refused(caller.patch("/users/me", {"name": "N"}, headers={"If-Match": tag}), 412, "PRECONDITION_FAILED")
    assert caller.patch("/users/me", {"name": "Newer"}, headers={"If-Match": "*"}).status_code == 200


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "\u00e9", "a\tb"])
def test_a_key_that_is_none_is_refused(app: Flask, api: Api, ada: Person, key: str) -> None:
    caller = api.as_(ada)
    with unchanged(app):
        answer = caller.post(
            "/users", {"email": "b@example.com", "name": "B"}, headers={"Idempotency-Key": key}
        )
    refused(answer, 400, "BAD_REQUEST")


def test_a_refusal_does_not_use_up_the_key(api: Api, alice: Person) -> None:
    key = {"Idempotency-Key": "one-and-the-same"}
    wrong = {"email": alice.email, "password": "not the right one at all"}
    for _ in range(2):
        refused(api.post("/auth/login", wrong, headers=key), 401, "INVALID_CREDENTIALS")
    right = api.post("/auth/login", {**wrong, "password": alice.password}, headers=key)
    assert right.status_code == 200
    again = api.post("/auth/login", {**wrong, "password": alice.password}, headers=key)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json["data"] == right.json["data"]


@pytest.mark.parametrize(
    "given", ["short", "x" * 65, "a b c d e f", "äääääääää", "-leading-dash", '"},{"a":"b']
)
def test_an_odd_request_id_is_replaced(api: Api, given: str) -> None:
    told = api.get("/health", headers={"X-Request-ID": given}).headers.getlist("X-Request-ID")
    assert len(told) == 1
    assert told[0] != given
    assert len(told[0]) == 32


def test_a_proper_request_id_is_kept(api: Api) -> None:
    answer = api.get("/users/me", headers={"X-Request-ID": "trace.2026-11_20"})
    assert answer.headers["X-Request-ID"] == answer.json["error"]["request_id"] == "trace.2026-11_20"


@pytest.mark.parametrize("path", ["/health", "/users/me", "/users/0"])
def test_an_answer_says_what_it_is(api: Api, ada: Person, path: str) -> None:
    answer = api.as_(ada).get(path)
    assert answer.headers["Content-Type"] == JSON  # UTF-8 by definition (RFC 8259 section 11)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Set-Cookie" not in answer.headers
    assert "Vary" not in answer.headers  # nothing is kept, and the API looks at no cookie


def test_what_is_left_of_the_budget_is_told_with_errors_too(api: Api, ada: Person) -> None:
    caller = api.as_(ada)
    refusals = [caller.get(f"/users/{ada.id + 1000}"), caller.post("/auth/register", {})]
    for answer in (caller.get("/users/me"), *refusals):
        assert int(answer.headers["RateLimit-Remaining"]) > 0


@pytest.mark.parametrize(
    "header", ["Bearer", "Bearer ", "Basic x", "Bearer a b", "bearer x", "Bearer \u00e9", "x" * 9000]
)
def test_an_odd_authorization_is_no_token(api: Api, header: str) -> None:
    answer = api.get("/users/me", headers={"Authorization": header})
    refused(answer, 401, "INVALID_TOKEN")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
