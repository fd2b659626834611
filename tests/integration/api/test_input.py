"""Anything wrong in a request is a clear 4xx in the envelope, changes nothing and never becomes a 500.

Security cases A57, A65, A94, A97, A100 to A106.
"""

import gzip
import json
import time
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pytest
from flask import Flask
from jsonschema_rs import Draft202012Validator

from blueprints.http import budget
from blueprints.http.openapi import document, operations
from blueprints.http.openapi_parts import example_of
from models import User
from services.schemas.base import ChangesIn
from tests.clients import Answer, Api
from tests.factories import Person
from tests.state import unchanged

GOOD = {"email": "new@example.com", "name": "New Person", "password": "lantern orchid gravel nine"}
JSON = "application/json"
#: A whole number that no bigint holds, and one that Python itself refuses to read.
TOO_LARGE, ABSURD = 2**63, "9" * 4301


def refused(answer: Answer, status: int, code: str) -> Any:
    """The details of the error, once it is the right one and wears the envelope."""
    assert answer.status_code == status, answer.data
    assert answer.mimetype == JSON
    body = answer.json
    assert body["success"] is False
    assert body["error"]["code"] == code
    assert body["error"]["request_id"] == answer.headers["X-Request-ID"]
    return body["error"].get("details", {})


def fields(details: Any) -> set[str]:
    """The fields that are named as faulty."""
    return {fault["field"] for fault in details["errors"]}


# ---- bodies that are no JSON object


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"{'email': 1}",
        b'{"email": "a@example.com",}',
        b'{"email": "a@example.com"} x',
        b'{"email": "a@example.com", "email": "b@example.com"}',
        b'{"email": {"a": 1, "a": 2}}',
        b'{"email": NaN}',
        b'{"email": -Infinity}',
        b'{"email": %s}' % ABSURD.encode(),
        b'{"email": "a\x00b"}',
        b'{"email": "\xff\xfe"}',
        b'{"email": "\\ud800"}',
        b'{"\\udc00": 1}',
        b'\xef\xbb\xbf{"email": "a@example.com"}',
        '{"email": "a@example.com"}'.encode("utf-16"),
        '{"email": "a@example.com"}'.encode("utf-32-le"),
        b"null",
        b"true",
        b"1",
        b'"x"',
        b"[]",
        b'[{"email": "a@example.com"}]',
        b'{"a":' * 40 + b"1" + b"}" * 40,
        b"[" * 100_000,
        b'{"a":' * 100_000,
    ],
    ids=lambda data: repr(data[:40]),
)
def test_what_is_no_json_object_is_malformed(app: Flask, api: Api, data: bytes) -> None:
    with unchanged(app):
        answer = api.post("/auth/password/forgot", data=data, content_type=JSON)
    refused(answer, 400, "MALFORMED_JSON")


def test_brackets_within_text_are_no_nesting(api: Api) -> None:
    answer = api.post("/auth/password/forgot", {"email": "[{" * 100})
    assert fields(refused(answer, 422, "VALIDATION_ERROR")) == {"email"}


def test_an_endless_string_costs_no_time(api: Api) -> None:
    data = b'{"a":' * 40 + b'"' + b'\\"' * 500_000
    began = time.process_time()
    refused(api.post("/auth/password/forgot", data=data, content_type=JSON), 400, "MALFORMED_JSON")
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "application/merge-patch+json",
        "application/json-seq",
        "json",
    ],
)
def test_only_json_is_taken(app: Flask, api: Api, content_type: str | None) -> None:
    with unchanged(app):
        answer = api.post("/auth/register", data=json.dumps(GOOD), content_type=content_type)
    refused(answer, 415, "UNSUPPORTED_MEDIA_TYPE")


def test_a_charset_beside_json_does_no_harm(api: Api) -> None:
    answer = api.post("/auth/register", data=json.dumps(GOOD), content_type="application/json; charset=utf-8")
    assert answer.status_code == 202


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip", "x"])
def test_encoded_bodies_are_refused(app: Flask, api: Api, encoding: str) -> None:
    data = gzip.compress(json.dumps(GOOD).encode())
    with unchanged(app):
        answer = api.post(
            "/auth/register", data=data, content_type=JSON, headers={"Content-Encoding": encoding}
        )
    refused(answer, 415, "UNSUPPORTED_MEDIA_TYPE")


def test_more_than_a_mebibyte_is_too_large(app: Flask, api: Api) -> None:
    padding = " " * (1024 * 1024 - len(json.dumps(GOOD)))
    with unchanged(app):
        answer = api.post("/auth/register", data=json.dumps(GOOD) + padding + " ", content_type=JSON)
    refused(answer, 413, "PAYLOAD_TOO_LARGE")
    assert api.post("/auth/register", data=json.dumps(GOOD) + padding, content_type=JSON).status_code == 202


def test_too_much_is_refused_before_it_is_read(api: Api) -> None:
    answer = api.post("/auth/register", content_type=JSON, environ_overrides={"CONTENT_LENGTH": str(10**12)})
    refused(answer, 413, "PAYLOAD_TOO_LARGE")


def test_an_endless_body_is_cut_off(app: Flask, api: Api) -> None:
    endless = BytesIO(b" " * (1024 * 1024 + 1) + b"x" * 1024 * 1024)
    chunked = {
        "wsgi.input": endless,
        "wsgi.input_terminated": True,
        "HTTP_TRANSFER_ENCODING": "chunked",
        "CONTENT_LENGTH": "",
    }
    with unchanged(app):
        answer = api.post("/auth/register", content_type=JSON, environ_overrides=chunked)
    refused(answer, 413, "PAYLOAD_TOO_LARGE")
    assert endless.tell() <= 1024 * 1024 + 1


# ---- fields

WRONG_VALUES: list[Any] = [
    1,
    0,
    -1,
    1.5,
    TOO_LARGE,
    True,
    False,
    None,
    "true",
    [],
    {},
    ["\x00"],
    {"a": {"b": 1}},
]
TEXTS = ["", "\x00", "a\x00b", "a\nb", "\u202eevil", "x" * 20_000]


@dataclass(frozen=True)
class Call:
    """A call with a body that would do, its fields' schemas, and the schemas those refer to."""

    method: str
    path: str
    body: dict[str, Any]
    fields: dict[str, Any]
    components: dict[str, Any]

    def fits(self, name: str, value: Any) -> bool:
        """Whether the document allows it, as with an empty list where a list is asked for."""
        schema = {**self.fields[name], "components": self.components}
        return Draft202012Validator(schema, validate_formats=True).is_valid(value)


def calls_with_bodies(app: Flask, user_id: int) -> list[Call]:
    """Every call there is that takes a body; where it takes one of several, each of them."""
    made = document(app)
    schemas = made["components"]["schemas"]
    found = []
    for operation in operations(app):
        if operation.contract.body is None:
            continue
        described = made["paths"][operation.path][operation.method.lower()]
        places = {
            place["name"]: example_of(place["schema"], schemas)
            for place in described.get("parameters", [])
            if place.get("in") == "path"
        }
        path = operation.path.format(**{**places, "user_id": user_id})
        schema = described["requestBody"]["content"][JSON]["schema"]
        for reference in schema.get("oneOf", [schema]):
            properties = schemas[reference["$ref"].rpartition("/")[2]]["properties"]
            body = example_of(reference, schemas)
            kept = {name: value for name, value in body.items() if "anyOf" not in properties[name]}
            found.append(Call(operation.method, path, kept, properties, made["components"]))
    return found


def test_every_field_of_every_body_refuses_every_other_type(
    app: Flask, api: Api, ada: Person, bob: Person
) -> None:
    caller = api.as_(ada)
    for call in calls_with_bodies(app, bob.id):
        budget.reset()
        for name in call.fields:
            with unchanged(app):
                for value in WRONG_VALUES:
                    if not call.fits(name, value):
                        named = named_for(caller, call, {name: value})
                        assert name in named, (call, name, value)


def test_no_text_field_takes_control_characters_or_a_novel(
    app: Flask, api: Api, ada: Person, bob: Person
) -> None:
    caller = api.as_(ada)
    for call in calls_with_bodies(app, bob.id):
        budget.reset()
        for name in call.fields:
            with unchanged(app):
                for value in TEXTS:
                    if not call.fits(name, value):
                        named = named_for(caller, call, {name: value})
                        assert name in named, (call, name, value)


def named_for(caller: Api, call: Call, change: dict[str, Any]) -> set[str]:
    """The fields that are refused once `change` is made to a good body; of a list's items, the list."""
    answer = caller.call(call.method, call.path, json={**call.body, **change})
    return {field.partition(".")[0] for field in fields(refused(answer, 422, "VALIDATION_ERROR"))}


def test_no_text_at_all_takes_nul(app: Flask, bob: Person) -> None:
    for call in calls_with_bodies(app, bob.id):
        for name in call.fields:
            assert not call.fits(name, "a\x00b"), (call.path, name)


def test_missing_fields_are_named(app: Flask, api: Api, ada: Person, bob: Person) -> None:
    made = document(app)["components"]["schemas"]
    answer = api.post("/auth/register", {})
    assert fields(refused(answer, 422, "VALIDATION_ERROR")) == set(made["RegisterIn"]["required"])
    answer = api.as_(ada).put(f"/users/{bob.id}", {"name": "Bob"})
    assert fields(refused(answer, 422, "VALIDATION_ERROR")) == {"email", "role", "is_active"}


def test_no_endpoint_takes_more_than_it_says(app: Flask, api: Api, ada: Person, bob: Person) -> None:
    """Mass assignment: every column of the table, and some that attackers hope for (A94, ASVS 15.3.3)."""
    columns = {column.name for column in User.__table__.columns}
    hoped_for = columns | {
        "is_admin",
        "permissions",
        "password_hash",
        "__proto__",
        "constructor",
        "_id",
        "$set",
    }
    caller = api.as_(ada)
    for call in calls_with_bodies(app, bob.id):
        extra = hoped_for - call.fields.keys()
        with unchanged(app):
            named = named_for(caller, call, dict.fromkeys(extra, "x"))
        assert named >= extra, call.path


def test_a_hundred_thousand_unknown_fields_are_told_in_short(api: Api) -> None:
    body = {f"f{number}": 1 for number in range(50_000)}
    began = time.process_time()
    answer = api.post("/auth/register", body)
    assert time.process_time() - began < 2
    assert len(refused(answer, 422, "VALIDATION_ERROR")["errors"]) <= 100
    assert len(answer.data) < 20_000


def test_a_partial_change_leaves_out_rather_than_nulls(
    app: Flask, api: Api, ada: Person, bob: Person
) -> None:
    caller = api.as_(ada)
    for name in ("name", "email", "role", "is_active"):
        with unchanged(app):
            answer = caller.patch(f"/users/{bob.id}", {name: None})
        assert refused(answer, 422, "VALIDATION_ERROR")["errors"] == [
            {"field": name, "error": "Leave this out, or send a value", "code": "null"}
        ]


def test_a_partial_change_of_nothing_changes_nothing(app: Flask, api: Api, ada: Person, bob: Person) -> None:
    caller = api.as_(ada)
    with unchanged(app):
        assert caller.patch(f"/users/{bob.id}", {}).status_code == 200


def test_every_partial_change_says_so(app: Flask) -> None:
    partial = {operation.contract.body for operation in operations(app) if operation.method == "PATCH"}
    assert any(isinstance(body, type) and issubclass(body, ChangesIn) for body in partial)


def test_the_fault_is_told_of_the_form_that_was_meant(api: Api) -> None:
    by_code = api.post("/auth/verify-email", {"email": "a@example.com", "code": 123456})
    assert fields(refused(by_code, 422, "VALIDATION_ERROR")) == {"code"}
    by_link = api.post("/auth/verify-email", {"token": 1})
    assert fields(refused(by_link, 422, "VALIDATION_ERROR")) == {"token"}
    both = api.post("/auth/verify-email", {"token": "x", "code": "123456"})
    assert fields(refused(both, 422, "VALIDATION_ERROR")) == {"code"}


# ---- addresses


@pytest.mark.parametrize(
    "user_id",
    [
        "0",
        "-1",
        "01",
        "+1",
        "1.0",
        "1e3",
        "x",
        "%31%30%30x",
        str(TOO_LARGE),
        ABSURD,
        "½",
        "１",
        "1 ",
        "1%20",
        "null",
    ],
)
def test_what_is_no_id_is_not_found(app: Flask, api: Api, ada: Person, user_id: str) -> None:
    caller = api.as_(ada)
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        with unchanged(app):
            answer = caller.call(method, f"/users/{user_id}")
        refused(answer, 404, "NOT_FOUND")


def test_the_largest_id_is_looked_for(api: Api, ada: Person) -> None:
    refused(api.as_(ada).get(f"/users/{2**63 - 1}"), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    "address",
    [
        "/api/v1/users/me/",
        "/api/v1//users/me",
        "//api/v1/users/me",
        "/api/v1/users//me",
        "/api/v1/Users/me",
        "/api/v1/users/me;x",
        "/api/v1/users/me%2e",
        "/api/v1/users/%2e%2e/users/me",
        "/api/v1/auth/../users/me",
        "/api/v1/./users/me",
        "/api/v1/users%2fme%2f",
        "/api/v1/users/me%20",
        "/api/v2/users/me",
    ],
)
def test_another_spelling_of_an_address_is_no_address(api: Api, ada: Person, address: str) -> None:
    refused(api.as_(ada).call("GET", address), 404, "NOT_FOUND")


def test_an_encoded_letter_is_the_same_address_under_the_same_rule(api: Api, ada: Person) -> None:
    assert api.as_(ada).get("/users/%6de").status_code == 200
    refused(api.get("/users/%6de"), 401, "AUTHENTICATION_REQUIRED")


@pytest.mark.parametrize(
    "path", ["/users/%00", "/roles/a%00b", "/roles/a%0ab", "/roles/%1b[31m", "/roles/%7f"]
)
def test_control_characters_in_an_address_are_refused(api: Api, ada: Person, path: str) -> None:
    refused(api.as_(ada).get(path), 400, "BAD_REQUEST")


@pytest.mark.parametrize("raw", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"a\xc3"])
def test_an_address_that_is_no_utf8_is_refused(api: Api, ada: Person, raw: bytes) -> None:
    path = {"PATH_INFO": (b"/api/v1/roles/" + raw).decode("latin-1")}
    refused(api.as_(ada).get("/roles/x", environ_overrides=path), 400, "BAD_REQUEST")


@pytest.mark.parametrize("query", ["q=%ff", "%c3=1", "q=%ed%a0%80"])
def test_a_query_that_is_no_utf8_is_refused(api: Api, ada: Person, query: str) -> None:
    refused(api.as_(ada).get(f"/users?{query}"), 400, "BAD_REQUEST")


# ---- queries


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("page=0", "page"),
        ("page=-1", "page"),
        ("page=1.0", "page"),
        ("page=1_0", "page"),
        ("page=%2B1", "page"),
        ("page=+1", "page"),
        ("page=01", "page"),
        ("page=1e3", "page"),
        ("page=x", "page"),
        ("page=１", "page"),
        ("page=1000001", "page"),
        (f"page={TOO_LARGE}", "page"),
        ("page=1000000000000000000", "page"),
        (f"per_page={'9' * 3000}", "per_page"),
        ("per_page=0", "per_page"),
        ("per_page=101", "per_page"),
        ("cursor=x", "cursor"),
        ("cursor=a.b.c", "cursor"),
        ("cursor=%C3%A9", "cursor"),
        (f"cursor={'x' * 3000}", "cursor"),
        ("sort=password_hash", "sort"),
        ("sort=name,name", "sort"),
        ("sort=--name", "sort"),
        ("sort=name%3B%20DROP%20TABLE%20users", "sort"),
        ("sort=,", "sort"),
        ("q=%0a", "q"),
        (f"q={'x' * 201}", "q"),
        ("filter[is_active]=1", "filter[is_active]"),
        ("filter[role]=Admin", "filter[role]"),
        ("filter[role]=admin%20", "filter[role]"),
        ("filter[email]=x", "filter[email]"),
        ("filter=x", "filter"),
        ("PAGE=1", "PAGE"),
        ("callback=alert", "callback"),
        ("page=1&page=2", "page"),
        ("page=1&page=1", "page"),
    ],
)
def test_a_wrong_query_names_its_parameter(app: Flask, api: Api, ada: Person, query: str, field: str) -> None:
    answer = api.as_(ada).get(f"/users?{query}")
    assert fields(refused(answer, 422, "VALIDATION_ERROR")) == {field}


def test_a_nul_in_a_query_is_refused(api: Api, ada: Person) -> None:
    refused(api.as_(ada).get("/users?q=%00"), 400, "BAD_REQUEST")


def test_an_unknown_parameter_is_told_which_there_are(api: Api, ada: Person) -> None:
    details = refused(api.as_(ada).get("/users?order=name"), 422, "VALIDATION_ERROR")
    assert details["field"] == "order"
    for name in ("page", "per_page", "cursor", "sort", "q", "filter[role]"):
        assert name in details["error"]


def test_an_unsortable_field_is_told_which_there_are(api: Api, ada: Person) -> None:
    details = refused(api.as_(ada).get("/users?sort=password_hash"), 422, "VALIDATION_ERROR")
    assert "last_login_at" in details["error"]


def test_an_empty_parameter_counts_as_not_given(api: Api, ada: Person) -> None:
    answer = api.as_(ada).get("/users?q=&page=&per_page=&sort=&filter[role]=&filter[is_active]=")
    assert answer.status_code == 200
    assert answer.json["pagination"]["per_page"] == 20


def test_ten_thousand_parameters_are_too_many(api: Api, ada: Person) -> None:
    began = time.process_time()
    answer = api.as_(ada).get("/users?" + "&".join(f"p{number}=1" for number in range(10_000)))
    refused(answer, 400, "BAD_REQUEST")
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    "text", ["%", "_", "\\", "(", "'", '"', "$1", ":x", "%%", "\\%", "[", "*", "' OR 1=1 --"]
)
def test_a_search_is_literal(api: Api, ada: Person, bob: Person, text: str) -> None:
    answer = api.as_(ada).get("/users", query_string={"q": text})
    assert answer.status_code == 200
    assert answer.json["data"] == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("filter[from]=yesterday", "filter[from]"),
        ("filter[from]=0", "filter[from]"),
        ("filter[from]=1e9", "filter[from]"),
        ("filter[from]=2026-02-30", "filter[from]"),
        ("filter[to]=2026-13-01T00:00:00Z", "filter[to]"),
        ("filter[to]=10000-01-01", "filter[to]"),
        (f"filter[actor_id]={TOO_LARGE}", "filter[actor_id]"),
        ("filter[actor_id]=0", "filter[actor_id]"),
        ("filter[action]=%25", "filter[action]"),
    ],
)
def test_a_wrong_filter_of_events_names_itself(api: Api, ada: Person, query: str, field: str) -> None:
    answer = api.as_(ada).get(f"/audit-events?{query}")
    assert fields(refused(answer, 422, "VALIDATION_ERROR")) == {field}


@pytest.mark.parametrize(
    "moment",
    [
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999Z",
        "2026-11-20",
        "2026-11-20T09:30:00-21:22",
        "2026-11-20T09:30:00%2B23:59",
    ],
)
def test_the_edges_of_time_are_answered(api: Api, ada: Person, moment: str) -> None:
    caller = api.as_(ada)
    for name in ("from", "to"):
        assert caller.get(f"/audit-events?filter[{name}]={moment}").status_code == 200


@pytest.mark.parametrize(
    "moment",
    [
        "0001-01-01T00:00:00%2B00:01",
        "9999-12-31T23:59:59-00:01",
        "2026-11-20T09:30",
        "2026-11-20T09:30:00",
        "2026-11-20T24:30:00Z",
        "20261120T093000Z",
        "2026-W47-5",
        "2026-11-20%2009:30:00Z",
        "2026-11-20T09:30:00%2B24:00",
    ],
)
def test_what_is_no_moment_names_its_filter(api: Api, ada: Person, moment: str) -> None:
    answer = api.as_(ada).get(f"/audit-events?filter[from]={moment}")
    assert fields(refused(answer, 422, "VALIDATION_ERROR")) == {"filter[from]"}


def test_a_moment_in_a_body_may_have_any_offset(api: Api, alice: Person) -> None:
    key = {"name": "Key", "scopes": [], "expires_at": "2090-07-29T15:09:21.120549-21:22"}
    answer = api.as_(alice).post("/users/me/api-keys", key)
    assert answer.status_code == 201
    assert answer.json["data"]["expires_at"] == "2090-07-30T12:31:21.120549Z"


def test_a_list_may_be_sorted_by_everything(api: Api, ada: Person) -> None:
    names = ("-email", "-updated_at", "-last_login_at", "-role", "-id", "-created_at", "-name")
    assert api.as_(ada).get(f"/users?sort={','.join(names)}").status_code == 200


# ---- methods and headers


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
