"""The OpenAPI 3.1 document, made from the routes and from the schemas that validate, so the two can't drift apart."""

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flask import Flask
from pydantic import TypeAdapter
from werkzeug.routing import BaseConverter, IntegerConverter, Rule, UUIDConverter

from blueprints.http import idempotency
from blueprints.http.endpoint import Contract
from blueprints.http.envelope import JSON, SCHEMAS, failure_example, failure_schema, success_schema
from blueprints.http.errors import status_of
from blueprints.http.openapi_parts import (
    ABOUT,
    HEADERS,
    PARAMETERS,
    REF,
    SECURITY,
    budget_headers,
    example_of,
    header_refs,
)
from blueprints.http.upload import MULTIPART
from services import errors
from services.errors import DomainError
from services.schemas.base import Nothing, without_null

Json = dict[str, Any]
PLACEHOLDER = re.compile(r"<(?:[^<>]*:)?([a-z_]\w*)>", re.ASCII)
TAGS = {"auth": "Authentication", "api_keys": "API keys"}
#: What any call can meet.
ALWAYS = (
    errors.BadRequest,
    errors.HttpsRequired,
    errors.RateLimited,
    errors.InternalError,
    errors.Unavailable,
)
WITH_BODY = (errors.MalformedJson, errors.PayloadTooLarge, errors.UnsupportedMediaType, errors.Invalid)
WITH_TOKEN = (errors.NotAuthenticated, errors.InvalidToken, errors.TokenExpired)


@dataclass(frozen=True)
class Operation:
    """One method of one address."""

    rule: Rule
    method: str
    contract: Contract
    id: str
    module: str

    @property
    def path(self) -> str:
        """The address as OpenAPI writes it: `/users/{user_id}`."""
        return PLACEHOLDER.sub(r"{\1}", self.rule.rule)

    @property
    def tag(self) -> str:
        """What the document files it under: "Audit events" for api/audit_events.py."""
        name = self.module.rpartition(".")[2]
        return TAGS.get(name) or name.replace("_", " ").capitalize()

    @property
    def may_replay(self) -> bool:
        """Whether Idempotency-Key means something."""
        return self.method in idempotency.METHODS

    def refusals(self) -> list[type[DomainError]]:
        """Every error a caller can get: what follows from rule and parameters, and what the contract adds."""
        contract = self.contract
        found: list[type[DomainError]] = [*ALWAYS, *contract.errors]
        found += WITH_TOKEN if contract.allow.signed_in else ()
        found += self._refusals_of_rule()
        found += [errors.NotFound] if self.rule.arguments else []
        found += WITH_BODY if contract.body else ()
        found += [errors.Invalid] if contract.query else []
        found += [errors.PreconditionFailed] if "expected" in contract.takes else []
        found += [errors.IdempotencyMismatch] if self.may_replay else []
        return found

    def _refusals_of_rule(self) -> list[type[DomainError]]:
        rule = self.contract.allow
        found: list[type[DomainError]] = [errors.Forbidden] if rule.permission else []
        found += [errors.ReauthenticationRequired] if rule.is_fresh else []
        found += [errors.AccountFrozen] if rule.signed_in and rule.is_shut(self.method) else []
        found += [errors.SecondFactorRequired] if rule.signed_in and not rule.before_enrolment else []
        return found


def operations(app: Flask) -> list[Operation]:
    """Every operation with a contract, in the order of the document."""
    return sorted(_operations(app), key=lambda operation: (operation.path, operation.method))


def document(app: Flask) -> Json:
    """The whole document, the same for each process of one version."""
    listed = operations(app)
    schemas = _Schemas(listed)
    paths: dict[str, Json] = {}
    for operation in listed:
        described = _operation(operation, schemas)
        paths.setdefault(operation.path, {})[operation.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{app.config['APP_NAME']} API",
            "version": app.config["VERSION"],
            "summary": "Accounts, roles and administration for programs.",
            "description": ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "This site"}],
        "tags": _tags(listed),
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.components.items())),
            "responses": _refused(listed),
            "headers": HEADERS,
            "parameters": PARAMETERS,
            "examples": {code: _error_example(error) for code, error in errors.registry().items()},
            "securitySchemes": SECURITY,
        },
    }


class _Schemas:
    """The schemas of every operation, named once, with an envelope for each kind of data."""

    def __init__(self, listed: list[Operation]) -> None:
        wanted: list[Any] = []
        for operation in listed:
            contract = operation.contract
            wanted.append(((operation.id, "data"), "serialization", contract.write))
            if contract.read_body is not None:
                wanted.append(((operation.id, "body"), "validation", contract.read_body))
            if contract.query is not None:
                wanted.append(((operation.id, "query"), "validation", TypeAdapter(contract.query)))
        found, made = TypeAdapter.json_schemas(wanted, ref_template=f"{REF}{{model}}")
        self.found: dict[Any, Json] = dict(found)
        self.components: dict[str, Json] = {**SCHEMAS, **made.get("$defs", {})}
        self.queries = {
            operation.id: self._query(operation) for operation in listed if operation.contract.query
        }
        for schema in self.queries.values():
            self.components.pop(schema["title"], None)
        self.components.pop(Nothing.__name__, None)

    def body(self, operation: Operation) -> Json:
        """What the body must be."""
        return self.found[(operation.id, "body"), "validation"]

    def envelope(self, operation: Operation) -> Json:
        """A reference to the envelope of what it gives; the envelope joins the components."""
        contract = operation.contract
        data: Json = (
            {"type": "null"}
            if contract.out is Nothing
            else self.found[(operation.id, "data"), "serialization"]
        )
        name = data.get("$ref", "").removeprefix(REF) or "Nothing"
        if "anyOf" in data:
            name = "Or".join(part["$ref"].removeprefix(REF) for part in data["anyOf"])
        if "items" in data:
            name = f"{data['items']['$ref'].removeprefix(REF)}List"
        made = success_schema(data, paged=contract.many)
        if self.components.setdefault(f"{name}Envelope", made) != made:
            raise ValueError(f"{name}Envelope would have two meanings")
        return {"$ref": f"{REF}{name}Envelope"}

    def _query(self, operation: Operation) -> Json:
        reference: str = self.found[(operation.id, "query"), "validation"]["$ref"]
        return self.components[reference.removeprefix(REF)]


def _operations(app: Flask) -> Iterator[Operation]:
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        contract = getattr(view, "contract", None)
        if contract is not None:
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                name = rule.endpoint.rpartition(".")[2]
                yield Operation(rule, method, contract, name, contract.view.__module__)


def _tags(listed: list[Operation]) -> list[Json]:
    told = {operation.tag: (sys.modules[operation.module].__doc__ or "").strip() for operation in listed}
    return [{"name": name, "description": description} for name, description in sorted(told.items())]


def _operation(operation: Operation, schemas: _Schemas) -> Json:
    contract = operation.contract
    who = contract.allow
    named = who.name.replace(who.permission, f"`{who.permission}`") if who.permission else who.name
    described: Json = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": contract.summary,
        "description": "\n\n".join(filter(None, [contract.description, f"Who may: {named}."])),
        "security": [{"bearer": []}] if who.signed_in else [],
        "responses": _responses(operation, schemas),
    }
    if who.permission:
        described["x-permission"] = who.permission
    if parameters := _parameters(operation, schemas):
        described["parameters"] = parameters
    if contract.body:
        schema = schemas.body(operation)
        content = {"schema": schema, **_body_examples(schema, schemas.components)}
        described["requestBody"] = {"required": True, "content": {JSON: content}}
    if contract.uploads:
        described["requestBody"] = _upload(*contract.uploads)
    return described


def _upload(name: str, media: tuple[str, ...]) -> Json:
    """A file, as the whole body or in a form."""
    file: Json = {"type": "string", "format": "binary"}
    form = {"type": "object", "properties": {name: file}, "required": [name]}
    content = {kind: {"schema": file} for kind in media}
    return {"required": True, "content": {**content, MULTIPART: {"schema": form}}}


def _body_examples(schema: Json, components: dict[str, Json]) -> Json:
    """One example, or one for each form a body may have."""
    forms = schema.get("oneOf")
    if not forms:
        return {"example": example_of(schema, components)}
    named = {form["$ref"].removeprefix(REF): example_of(form, components) for form in forms}
    return {
        "examples": {
            name: {"summary": components[name]["description"], "value": value}
            for name, value in named.items()
        }
    }


def _parameters(operation: Operation, schemas: _Schemas) -> list[Json]:
    found = [_path_parameter(name, made) for name, made in operation.rule._converters.items()]
    if operation.contract.query:
        properties = schemas.queries[operation.id]["properties"]
        found += [_query_parameter(name, schema) for name, schema in properties.items()]
    honoured = {
        "IfNoneMatch": operation.method == "GET",
        "IfMatch": "expected" in operation.contract.takes,
        "IdempotencyKey": operation.may_replay,
    }
    return found + [
        {"$ref": f"#/components/parameters/{name}"} for name, is_honoured in honoured.items() if is_honoured
    ]


def _path_parameter(name: str, converter: BaseConverter) -> Json:
    schema: Json = {"type": "string", "pattern": f"^{converter.regex}$"}
    if isinstance(converter, IntegerConverter):  # every whole number in an address is an identity
        schema = {
            "type": "integer",
            "format": "int64",
            "minimum": converter.min or 1,
            "maximum": converter.max,
        }
    elif isinstance(converter, UUIDConverter):
        schema = {"type": "string", "format": "uuid"}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameter(name: str, schema: Json) -> Json:
    kept = without_null({key: value for key, value in schema.items() if key not in {"title", "description"}})
    told = {
        "name": name,
        "in": "query",
        "description": schema.get("description", ""),
        "schema": kept,
        "allowEmptyValue": True,
    }
    return {**told, "style": "form", "explode": False} if kept.get("type") == "array" else told


def _responses(operation: Operation, schemas: _Schemas) -> Json:
    contract, many = operation.contract, operation.contract.many
    envelope = schemas.envelope(operation)
    example = example_of(envelope, schemas.components) | {"message": contract.message}
    content: Json = {JSON: {"schema": envelope, "example": example}}
    content |= {media: {"schema": {"type": "string"}} for media in contract.also}
    is_read = operation.method == "GET"
    headers = [*(["ETag"] if is_read else []), *(["Link"] if many else [])]
    headers += ["Idempotent-Replayed"] if operation.may_replay else []
    responses: Json = {
        str(contract.status): {
            "description": contract.message,
            "headers": {**header_refs(headers), **budget_headers()},
            "content": content,
        }
    }
    if is_read:
        responses["304"] = {
            "description": "You have it already: If-None-Match names the present ETag.",
            "headers": {**header_refs(["ETag", *(["Link"] if many else [])]), **budget_headers()},
        }
    refused = {
        str(status): {"$ref": f"#/components/responses/{_name(status, codes)}"}
        for status, codes in _codes(operation).items()
    }
    return dict(sorted({**responses, **refused}.items()))


def _refused(listed: list[Operation]) -> Json:
    """The error responses of every operation; many share theirs."""
    pairs = {_name(*pair): pair for operation in listed for pair in _codes(operation).items()}
    return {name: _refusal(*pair) for name, pair in sorted(pairs.items())}


def _codes(operation: Operation) -> dict[int, tuple[str, ...]]:
    by_status: dict[int, set[str]] = {}
    for error in operation.refusals():
        by_status.setdefault(status_of(error), set()).add(error.code)
    return {status: tuple(sorted(codes)) for status, codes in sorted(by_status.items())}


def _name(status: int, codes: tuple[str, ...]) -> str:
    return ".".join([str(status), *codes])


def _refusal(status: int, codes: tuple[str, ...]) -> Json:
    known = errors.registry()
    extra = {401: ["WWW-Authenticate"], 429: ["Retry-After"], 503: ["Retry-After"]}.get(status, [])
    return {
        "description": "\n".join(f"- `{code}`: {known[code].title}" for code in codes),
        "headers": {**header_refs(extra), **budget_headers()},
        "content": {
            JSON: {
                "schema": failure_schema(list(codes)),
                "examples": {code: {"$ref": f"#/components/examples/{code}"} for code in codes},
            }
        },
    }


def _error_example(error: type[DomainError]) -> Json:
    return {
        "summary": error.title,
        "description": f"{error.remedy} See /problems/{error.code}.",
        "value": failure_example(error),
    }
