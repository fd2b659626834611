"""The API document: valid, complete, true; its reader, and the pages of the error codes."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jsonschema_rs import Draft202012Validator
from openapi_spec_validator import validate

from blueprints.http.errors import status_of
from blueprints.http.headers import page_policy
from blueprints.http.openapi import PLACEHOLDER, operations
from services.errors import registry
from services.schemas.base import In

URL = "/api/v1/openapi.json"
Json = dict[str, Any]


@pytest.fixture
def document(client: FlaskClient) -> Json:
    response = client.get(URL)
    assert response.status_code == 200
    return dict(response.json or {})


def each_operation(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def resolved(document: Json, part: Json) -> Json:
    while "$ref" in part:
        found: Any = document
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        part = found
    return part


def accepts(document: Json, schema: Json, value: Any) -> list[str]:
    validator = Draft202012Validator({**schema, "components": document["components"]})
    return [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(value)]


def test_it_is_valid_openapi(document: Json) -> None:
    validate(document)
    assert document["openapi"].startswith("3.1")


def test_component_names_are_clean(document: Json) -> None:
    names = [name for group in document["components"].values() for name in group]
    assert not [name for name in names if not re.fullmatch(r"[A-Za-z0-9._-]+", name)]


def test_every_api_rule_is_in_it_and_the_reverse(app: Flask, document: Json) -> None:
    rules = {
        (PLACEHOLDER.sub(r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/v1/") and not rule.endpoint.startswith("docs.")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert {(path, method) for path, method, _ in each_operation(document)} == rules


def test_operations_have_names_words_and_a_section(document: Json) -> None:
    sections = {tag["name"] for tag in document["tags"]}
    assert all(tag["description"] for tag in document["tags"])
    ids = []
    for path, _, operation in each_operation(document):
        ids.append(operation["operationId"])
        assert operation["summary"].endswith("."), path
        assert "Who may: " in operation["description"]
        assert set(operation["tags"]) <= sections
    assert len(set(ids)) == len(ids)


def test_who_may_is_told(document: Json) -> None:
    list_users = document["paths"]["/api/v1/users"]["get"]
    assert list_users["x-permission"] == "users:read"
    assert list_users["security"] == [{"bearer": []}]
    assert {"401", "403"} <= list_users["responses"].keys()
    register = document["paths"]["/api/v1/auth/register"]["post"]
    assert register["security"] == []
    assert "401" not in register["responses"]
    refused = resolved(document, register["responses"]["403"])["content"]["application/json"]["examples"]
    assert set(refused) == {"HTTPS_REQUIRED"}


@pytest.mark.parametrize(
    ("path", "method", "statuses"),
    [
        ("/users/{user_id}", "get", {200, 304, 400, 401, 403, 404, 429, 500, 503}),
        ("/users/{user_id}", "put", {200, 400, 401, 403, 404, 409, 412, 413, 415, 422, 429, 500, 503}),
        ("/users", "get", {200, 304, 400, 401, 403, 422, 429, 500, 503}),
        ("/auth/logout", "post", {200, 400, 401, 403, 422, 429, 500, 503}),
        ("/health", "get", {200, 304, 400, 403, 429, 500, 503}),
    ],
)
def test_statuses_follow_from_what_is_taken(
    document: Json, path: str, method: str, statuses: set[int]
) -> None:
    told = document["paths"][f"/api/v1{path}"][method]["responses"]
    assert {int(status) for status in told} == statuses


def test_every_error_code_has_an_example(document: Json) -> None:
    examples = document["components"]["examples"]
    assert set(examples) == set(registry())
    for code, example in examples.items():
        assert example["value"]["error"]["code"] == code


def test_what_a_rule_refuses_is_told(document: Json) -> None:
    def codes(path: str, method: str) -> set[str]:
        told = document["paths"][f"/api/v1{path}"][method]["responses"]["403"]
        return set(resolved(document, told)["content"]["application/json"]["examples"])

    assert codes("/users/me", "get") == {"HTTPS_REQUIRED", "SECOND_FACTOR_REQUIRED"}
    assert codes("/users", "get") == {"FORBIDDEN", "HTTPS_REQUIRED", "SECOND_FACTOR_REQUIRED"}
    assert codes("/users/me/totp", "post") == {
        "ACCOUNT_FROZEN",
        "HTTPS_REQUIRED",
        "REAUTHENTICATION_REQUIRED",
    }


def test_an_operation_tells_exactly_its_error_codes(app: Flask, document: Json) -> None:
    for operation in operations(app):
        told = document["paths"][operation.path][operation.method.lower()]["responses"]
        codes = {
            (int(status), code)
            for status, response in told.items()
            if int(status) >= 400
            for code in resolved(document, response)["content"]["application/json"]["examples"]
        }
        assert codes == {(status_of(error), error.code) for error in operation.refusals()}


def test_every_example_fits_its_schema(document: Json) -> None:
    faults = []
    count = 0
    for where, schema, value in examples(document):
        count += 1
        faults += [f"{where}: {fault}" for fault in accepts(document, schema, value)]
    assert count > 150
    assert not faults


def examples(document: Json) -> Iterator[tuple[str, Json, Any]]:
    for _, _, operation in each_operation(document):
        contents = [resolved(document, response) for response in operation["responses"].values()]
        for content in [operation.get("requestBody", {}), *contents]:
            for media in content.get("content", {}).values():
                if "example" in media:
                    yield operation["operationId"], media["schema"], media["example"]
                for example in media.get("examples", {}).values():
                    yield operation["operationId"], media["schema"], resolved(document, example)["value"]
        for parameter in operation.get("parameters", []):
            schema = resolved(document, parameter)["schema"]
            for example in schema.get("examples", []):
                yield operation["operationId"], schema, example


def test_every_request_example_is_taken_by_what_validates(app: Flask, document: Json) -> None:
    for operation in operations(app):
        body = document["paths"][operation.path][operation.method.lower()].get("requestBody")
        if body is None or operation.contract.read_body is None:
            continue
        media = body["content"]["application/json"]
        told = [example["value"] for example in media.get("examples", {}).values()]
        for example in told or [media["example"]]:
            operation.contract.read_body.validate_json(json.dumps(example))


def test_bodies_refuse_unknown_fields(document: Json) -> None:
    names = {schema.__name__ for schema in In.__subclasses__()} & document["components"]["schemas"].keys()
    assert "RegisterIn" in names
    for name in names:
        assert document["components"]["schemas"][name]["additionalProperties"] is False, name


def test_a_partial_change_shows_no_defaults_and_no_null(document: Json) -> None:
    schema = document["components"]["schemas"]["UserUpdateIn"]
    assert "required" not in schema
    assert schema["properties"].keys() == {"name", "email", "role", "is_active"}
    for field in schema["properties"].values():
        assert "default" not in field
        assert field["type"] in {"string", "boolean"}


def test_parameters_are_told_with_their_limits(document: Json) -> None:
    paths = document["paths"]
    by_name = {
        parameter["name"]: parameter
        for parameter in (
            resolved(document, part) for part in paths["/api/v1/audit-events"]["get"]["parameters"]
        )
    }
    assert by_name["per_page"]["schema"]["maximum"] == 100
    assert by_name["filter[actor_id]"]["schema"]["minimum"] == 1
    assert by_name["sort"]["schema"]["items"]["enum"] == ["created_at", "-created_at", "id", "-id"]
    assert by_name["If-None-Match"]["in"] == "header"
    (user_id, *others) = [
        resolved(document, part) for part in paths["/api/v1/users/{user_id}"]["patch"]["parameters"]
    ]
    assert user_id["schema"] == {
        "type": "integer",
        "format": "int64",
        "minimum": 1,
        "maximum": 10**18 - 1,
    }
    assert [other["name"] for other in others] == ["If-Match", "Idempotency-Key"]
    session_id = paths["/api/v1/users/me/sessions/{session_id}"]["delete"]["parameters"][0]
    assert session_id["schema"]["format"] == "uuid"


def test_the_audit_log_comes_as_csv_too(document: Json) -> None:
    told = document["paths"]["/api/v1/audit-events"]["get"]["responses"]["200"]["content"]
    assert told.keys() == {"application/json", "text/csv"}


def test_answers_tell_their_headers(document: Json) -> None:
    told = document["paths"]["/api/v1/users"]["get"]["responses"]
    assert {"ETag", "Link", "RateLimit-Remaining", "X-Request-ID"} <= told["200"]["headers"].keys()
    assert "ETag" in told["304"]["headers"]
    assert "WWW-Authenticate" in resolved(document, told["401"])["headers"]
    assert "Retry-After" in resolved(document, told["429"])["headers"]
    assert "Retry-After" in resolved(document, told["503"])["headers"]


def test_it_is_the_same_each_time_and_kept(client: FlaskClient, app: Flask) -> None:
    first = client.get(URL)
    app.extensions.pop("openapi")
    second = client.get(URL)
    assert first.data == second.data
    assert second.headers["Cache-Control"] == "no-cache"
    assert second.content_type == "application/json"
    again = client.get(URL, headers={"If-None-Match": second.headers["ETag"]})
    assert again.status_code == 304
    assert not again.data


def test_the_reader_needs_nothing_beyond_the_policy_of_every_page_but_to_write_html(
    client: FlaskClient,
) -> None:
    response = client.get("/api/docs")
    page = response.get_data(as_text=True)
    assert response.status_code == 200
    nonce = re.search(r'nonce="([^"]+)"', page)
    assert nonce is not None
    assert response.headers["Content-Security-Policy"] == page_policy(
        script_src=f"'self' 'nonce-{nonce[1]}'", trusted_types="default dompurify"
    )
    assert f'data-document="{URL}"' in page


def test_the_readers_files_come_from_this_site(client: FlaskClient) -> None:
    page = client.get("/api/docs").get_data(as_text=True)
    addresses = re.findall(r'(?:src|href)="(/[^"]+\.(?:js|css)\?[^"]*)"', page)
    assert any("swagger-ui-bundle.js?v=" in address for address in addresses)
    for address in addresses:
        with client.get(address) as response:
            assert response.status_code == 200, address
            assert response.mimetype in {"text/javascript", "text/css"}
    with client.get("/api/docs/assets/swagger-ui-bundle.js") as bundle:
        assert bundle.headers["Cache-Control"] == "public, immutable, max-age=31536000"


@pytest.mark.parametrize("name", ["index.html", "../__init__.py", "%2e%2e/__init__.py", "LICENSE", "x"])
def test_nothing_else_of_the_readers_package_is_served(client: FlaskClient, name: str) -> None:
    assert client.get(f"/api/docs/assets/{name}").status_code == 404


def test_every_error_code_has_a_page(client: FlaskClient) -> None:
    overview = client.get("/problems").get_data(as_text=True)
    for code, error in registry().items():
        assert f'href="/problems/{code}"' in overview
        page = client.get(f"/problems/{code}").get_data(as_text=True)
        assert code in page
        assert str(status_of(error)) in page
        assert error.remedy.split(":")[0] in page


def test_a_codes_page_is_found_in_any_case(client: FlaskClient) -> None:
    assert client.get("/problems/not_found").status_code == 200
    response = client.get("/problems/NO_SUCH_CODE")
    assert response.status_code == 404
    assert response.mimetype == "text/html"
