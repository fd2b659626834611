"""Parts of the API document that every operation shares, and examples made of schemas."""

from typing import Any

Json = dict[str, Any]
REF = "#/components/schemas/"

ABOUT = """JSON in, JSON out, in UTF-8.

**Sign in** with `POST /api/v1/auth/login`, then send `Authorization: Bearer <access_token>`. An access token lives ten
minutes; `POST /api/v1/auth/refresh` exchanges the refresh token for the next pair.

**Answers** wear one envelope: `success`, `data`, `message`, `timestamp`, and `pagination` beside a list. Errors have
`error.code` from one registry, explained at [/problems](/problems), and a `request_id` to quote when you ask for help.

**Bodies** are strict: unknown fields, wrong types, duplicate names and anything but `application/json` are refused.

**Lists** take `page` and `per_page`, or `cursor`, which stays fast however deep; `sort`; and filters.
In a query an empty value counts as not given, but for an empty `cursor`, which starts a walk by cursor.

**Repeating**: reads bear an `ETag` for `If-None-Match`; changes take `If-Match`; POST and PATCH take `Idempotency-Key`,
which makes them safe to repeat for a day.

**Limits**: `RateLimit-*` tell what is left of your budget, `Retry-After` how long to wait."""

SECURITY: Json = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The access token of `POST /api/v1/auth/login`.",
    }
}

PARAMETERS: Json = {
    "IfNoneMatch": {
        "name": "If-None-Match",
        "in": "header",
        "description": "The ETag you have; 304 when it is still the present one.",
        "schema": {"type": "string"},
    },
    "IfMatch": {
        "name": "If-Match",
        "in": "header",
        "description": "The ETag you have read; 412 when it was changed in between.",
        "schema": {"type": "string"},
    },
    "IdempotencyKey": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Yours alone, new for each new request: a repeat within a day gets the same answer again.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    },
}

HEADERS: Json = {
    "ETag": {"description": "The version of what was read.", "schema": {"type": "string"}},
    "Idempotent-Replayed": {
        "description": "There when the answer was given before, under the same Idempotency-Key.",
        "schema": {"const": "true"},
    },
    "Link": {"description": "The next page and the one before.", "schema": {"type": "string"}},
    "RateLimit-Limit": {"description": "Calls a minute.", "schema": {"type": "integer"}},
    "RateLimit-Remaining": {"description": "Calls left.", "schema": {"type": "integer"}},
    "RateLimit-Reset": {"description": "Seconds until all are back.", "schema": {"type": "integer"}},
    "Retry-After": {
        "description": "Seconds to wait.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {
        "description": "What was wrong with the token (RFC 6750).",
        "required": True,
        "schema": {"type": "string"},
    },
    "X-Request-ID": {
        "description": "The same as in the log. A caller may give one: 8 to 64 letters, digits, `.`, `_`, `-`.",
        "required": True,
        "schema": {"type": "string", "minLength": 8, "maxLength": 64},
    },
}
#: What an answer's text holds, where the schema has no example of its own.
BY_NAME: dict[str, Any] = {
    "id": 42,
    "email": "ada@example.com",
    "name": "Ada Okonkwo",
    "role": "member",
    "access_token": "eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiI0MiJ9.c2lnbmF0dXJl",
    "refresh_token": "bXkgdG9rZW4gaXMgbm90IHJlYWxseSBhIHNlY3JldA",
    "expires_in": 600,
    "action": "account:login:success",
    "actor_id": 42,
    "actor_name": "Ada Okonkwo",
    "target_id": 42,
    "target_name": "Ada Okonkwo",
    "ip": "203.0.113.7",
    "user_agent": "curl/8.14.1",
    "device_name": "Build server",
    "request_id": "6f1d2c8a4b3e4f5a9c7d8e0f1a2b3c4d",
    "permissions": ["users:read"],
    "code": "users:read",
    "description": "Look at accounts",
    "version": "1.0.0",
    "environment": "production",
    "commit": "4f2a9c1",
    "uptime_seconds": 86_400,
    "per_page": 20,
    "next": None,
    "prev": None,
}
BY_FORMAT = {
    "date-time": "2026-11-20T09:30:00Z",
    "date": "2026-11-20",
    "uuid": "0b9f6c1e-5a52-4f0c-9d0a-3c1d6f0f7a21",
    "uri": "https://example.com/",
}
BY_TYPE: dict[str, Any] = {"integer": 1, "number": 1.5, "boolean": True, "string": "text", "null": None}


def header_refs(names: list[str]) -> Json:
    """References to headers of the components."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def budget_headers() -> Json:
    """What every answer bears."""
    return header_refs(["RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "X-Request-ID"])


def example_of(schema: Json, components: dict[str, Json]) -> Any:
    """A value that the schema accepts: its own example where it has one, else made of its parts."""
    if reference := schema.get("$ref"):
        return example_of(components[reference.removeprefix(REF)], components)
    for keyword in ("const", "default"):
        if schema.get(keyword) is not None:
            return schema[keyword]
    for keyword in ("examples", "enum"):
        if schema.get(keyword):
            return schema[keyword][0]
    for keyword in ("anyOf", "oneOf", "allOf"):
        if schema.get(keyword):
            return example_of(schema[keyword][0], components)
    return _by_type(schema, components)


def _by_type(schema: Json, components: dict[str, Json]) -> Any:
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: _example_of_property(name, part, components) for name, part in properties.items()}
    if kind == "array":
        return [example_of(schema.get("items", {}), components)]
    if kind == "string" and schema.get("format") in BY_FORMAT:
        return BY_FORMAT[schema["format"]]
    return max(1, schema.get("minimum", 1)) if kind == "integer" else BY_TYPE.get(kind or "null")


def _example_of_property(name: str, schema: Json, components: dict[str, Json]) -> Any:
    is_plain = not {"const", "default", "enum", "examples", "format"} & schema.keys()
    return BY_NAME[name] if is_plain and name in BY_NAME else example_of(schema, components)
