"""A body that is no JSON object, or no body we take, is refused before it is looked at and changes nothing."""

import gzip
import json
import time
from io import BytesIO

import pytest
from flask import Flask

from blueprints.http.validation import MAX_VALUES
from tests.clients import Api, PageClient
from tests.integration.api.input.refusals import ABSURD, JSON, fields, refused
from tests.state import unchanged

#: How much slower than on a quiet machine a test may run.
SLACK = 3
GOOD = {"email": "new@example.com", "name": "New Person", "password": "lantern orchid gravel nine"}


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


MEBIBYTE = 1024 * 1024 - 64
COSTLY: dict[str, bytes] = {
    "unknown fields": b"{%s}" % b",".join(b'"%x":1' % number for number in range(90_000)),
    "as many as are told of": b"{%s}" % b",".join(b'"%x%s":1' % (n, b"a" * 500) for n in range(1900)),
    "one list": b'{"email":[%s0]}' % (b"0," * (MEBIBYTE // 2)),
    "lists in a list": b'{"x":[%s0]}' % (b"[]," * (MEBIBYTE // 3)),
    "objects in a list": b'{"email":[%s0]}' % (b"{}," * (MEBIBYTE // 3)),
    "a long name": b'{"%s":1}' % (b"a" * MEBIBYTE),
    "brackets in a string": b'{"email":"%s"}' % (b"[" * MEBIBYTE),
    "commas in a string": b'{"email":"%s"}' % (b"," * MEBIBYTE),
    "strings in a row": b'{"a":%s' % (b'"" ' * (MEBIBYTE // 3)),
    "marks in a name": b'{"name":"a%s"}' % ("\u0301\u0327".encode() * (MEBIBYTE // 4)),
    "marks in an address": b'{"email":"a%s@example.com"}' % ("\u0301\u0327".encode() * (MEBIBYTE // 4)),
    "marks in a password": b'{"password":"a%s"}' % ("\u0301\u0327".encode() * (MEBIBYTE // 4)),
}


@pytest.mark.parametrize("name", COSTLY)
@pytest.mark.parametrize("path", ["/api/v1/auth/register", "/auth/register"])
def test_a_mebibyte_of_anything_is_refused_at_once(app: Flask, name: str, path: str) -> None:
    client = app.test_client()
    began = time.process_time()
    answer = client.post(path, data=COSTLY[name], content_type=JSON)
    spent = time.process_time() - began
    assert 400 <= answer.status_code < 500
    assert len(answer.data) < 50_000
    assert spent < 0.05 * SLACK, f"{spent * 1000:.0f} ms"


def test_more_fields_than_anybody_needs_are_refused_in_one_line(app: Flask, api: Api) -> None:
    body = {f"f{number}": 1 for number in range(MAX_VALUES + 2)}
    with unchanged(app):
        details = refused(api.post("/auth/register", body), 422, "VALIDATION_ERROR")
    assert [fault["code"] for fault in details["errors"]] == ["too_many_values"]


def test_the_name_of_an_unknown_field_is_told_in_short(api: Api) -> None:
    details = refused(api.post("/auth/register", {"x" * 10_000: 1}), 422, "VALIDATION_ERROR")
    assert [fault["field"] for fault in details["errors"] if fault["code"] == "extra_forbidden"] == [
        "x" * 199 + "…"
    ]


@pytest.mark.parametrize("form", ["a=1&", "&", "a&"])
def test_a_form_is_no_larger_than_a_form_needs(app: Flask, client: PageClient, form: str) -> None:
    data = form * (64 * 1024 // len(form))
    kind = "application/x-www-form-urlencoded"
    client.post("/auth/register", data=form, content_type=kind)  # the page of the refusal is compiled once
    began = time.process_time()
    assert client.post("/auth/register", data=data, content_type=kind).status_code == 403, "no token"
    assert time.process_time() - began < 0.05 * SLACK
    assert client.post("/auth/register", data=data + form * 2, content_type=kind).status_code == 413


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
