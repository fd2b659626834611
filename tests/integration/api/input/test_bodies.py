"""A body that is no JSON object, or no body we take, is refused before it is looked at and changes nothing."""

import gzip
import json
import time
from io import BytesIO

import pytest
from flask import Flask

from tests.clients import Api
from tests.integration.api.input.refusals import ABSURD, JSON, fields, refused
from tests.state import unchanged

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
