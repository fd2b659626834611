"""The API document, its reader page, and a page for each error code."""

import hashlib
import json
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

import flask_swagger_ui
from flask import Blueprint, Response, current_app, render_template, request, send_from_directory, url_for

from blueprints.http.access import allow, anyone, even_impersonated
from blueprints.http.envelope import JSON, failure_example
from blueprints.http.errors import status_of
from blueprints.http.headers import nonce, page_policy
from blueprints.http.openapi import document as make_document
from services.errors import DomainError, NotFound, registry

bp = Blueprint("docs", __name__)

READER_FILES = Path(flask_swagger_ui.__file__).parent / "dist"
#: Of the reader's package these are served, and nothing else.
READER_ASSETS = frozenset({"swagger-ui-bundle.js"})
A_YEAR = 31_536_000


@bp.get("/api/v1/openapi.json")
@allow(even_impersonated(anyone))
def document() -> Response:
    """The OpenAPI 3.1 document; made once, then from memory."""
    made, tag = _document()
    response = Response(made, mimetype=JSON)
    response.set_etag(tag)
    response.cache_control.no_cache = True
    response.make_conditional(request)
    return response


@bp.get("/api/docs")
@allow(even_impersonated(anyone))
def reader() -> Response:
    """The document, read with Swagger UI. Every file comes from this site."""
    page = render_template(
        "api/docs.html",
        script_url=url_for("docs.asset", name="swagger-ui-bundle.js", v=_hash("swagger-ui-bundle.js")),
        document_url=url_for("docs.document"),
    )
    response = Response(page, mimetype="text/html")
    # The policy of every page: Swagger UI makes do with it, since React sets styles by script and its icons are data:.
    # But it writes HTML as text, so that is let through by name (static/js/api-docs.js); scripts and their addresses,
    # which no policy of that page makes trusted, stay shut out.
    response.headers["Content-Security-Policy"] = page_policy(
        script_src=f"'self' 'nonce-{nonce(request.environ)}'", trusted_types="default dompurify"
    )
    return response


@bp.get("/api/docs/assets/<name>")
@allow(even_impersonated(anyone))
def asset(name: str) -> Response:
    """A file of the reader; its address bears its hash, so it may be kept for ever."""
    if name not in READER_ASSETS:
        raise NotFound
    response = send_from_directory(READER_FILES, name)
    response.cache_control.no_cache = None
    response.cache_control.public = True
    response.cache_control.immutable = True
    response.cache_control.max_age = A_YEAR
    return response


@bp.get("/problems")
@allow(even_impersonated(anyone))
def problems() -> str:
    """Every error code of the API, in the order of their status."""
    listed = sorted(
        (_problem(error) for error in registry().values()), key=lambda told: (told["status"], told["code"])
    )
    return render_template("api/problems.html", problems=listed)


@bp.get("/problems/<code>")
@allow(even_impersonated(anyone))
def problem(code: str) -> str:
    """What an error code means and what to do about it."""
    error = registry().get(code.upper())
    if error is None:
        raise NotFound
    example = json.dumps(failure_example(error), indent=2, ensure_ascii=False)
    return render_template("api/problem.html", problem=_problem(error), example=example)


def _document() -> tuple[bytes, str]:
    made: tuple[bytes, str] | None = current_app.extensions.get("openapi")
    if made is None:
        data = json.dumps(make_document(current_app), ensure_ascii=False, separators=(",", ":")).encode()
        made = current_app.extensions["openapi"] = data, hashlib.sha256(data).hexdigest()[:24]
    return made


@lru_cache(maxsize=len(READER_ASSETS))
def _hash(name: str) -> str:
    return hashlib.sha256((READER_FILES / name).read_bytes()).hexdigest()[:12]


def _problem(error: type[DomainError]) -> dict[str, Any]:
    status = status_of(error)
    return {
        "code": error.code,
        "status": status,
        "reason": HTTPStatus(status).phrase,
        "title": error.title,
        "message": error.default_message,
        "remedy": error.remedy,
    }
