"""Every field of every body refuses what its schema does not allow, by name, and so does every unknown field."""

import time
from dataclasses import dataclass
from typing import Any

from flask import Flask
from jsonschema_rs import Draft202012Validator

from blueprints.http import budget
from blueprints.http.openapi import document, operations
from blueprints.http.openapi_parts import example_of
from models import User
from services.schemas.base import ChangesIn
from tests.clients import Api
from tests.factories import Person
from tests.integration.api.input.refusals import JSON, TOO_LARGE, fields, refused
from tests.state import unchanged

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


def test_a_moment_in_a_body_may_have_any_offset(api: Api, alice: Person) -> None:
    key = {"name": "Key", "scopes": [], "expires_at": "2090-07-29T15:09:21.120549-21:22"}
    answer = api.as_(alice).post("/users/me/api-keys", key)
    assert answer.status_code == 201
    assert answer.json["data"]["expires_at"] == "2090-07-30T12:31:21.120549Z"
