"""From errors to answers: the kind of a DomainError gives the status; programs get the envelope, people a page."""

import structlog
from flask import Flask, Response, render_template, request
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as WsgiResponse

from blueprints.http.envelope import failure
from blueprints.http.headers import is_probe
from services import errors
from services.errors import DomainError

log = structlog.get_logger(__name__)

STATUS: dict[type[DomainError], int] = {
    errors.BadRequest: 400,
    errors.NotAuthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.MethodNotAllowed: 405,
    errors.Conflict: 409,
    errors.LinkExpired: 410,
    errors.PreconditionFailed: 412,
    errors.PayloadTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.Invalid: 422,
    errors.IdempotencyMismatch: 422,
    errors.RateLimited: 429,
    errors.InternalError: 500,
    errors.Unavailable: 503,
}
OF_HTTP: dict[int, type[DomainError]] = {
    400: errors.BadRequest,
    401: errors.NotAuthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
    410: errors.LinkExpired,
    412: errors.PreconditionFailed,
    413: errors.PayloadTooLarge,
    415: errors.UnsupportedMediaType,
    429: errors.RateLimited,
    503: errors.Unavailable,
}
RETRY_AFTER_SECONDS = 5
#: Only for reading (a standby), a right that was taken away, a transaction ended for idling: for operators to mend.
NOT_NOW = frozenset({"25006", "42501", "25P03", "25P04"})


def status_of(error: DomainError | type[DomainError]) -> int:
    """The HTTP status of an error: that of the nearest kind above it."""
    kind = error if isinstance(error, type) else type(error)
    return next(STATUS[base] for base in kind.__mro__ if base in STATUS)


def wants_json() -> bool:
    """Whether the caller is a program: under /api/ and /health always, elsewhere by what it sends or accepts."""
    if request.path.startswith("/api/") or is_probe(request.path):
        return True
    if request.mimetype == "application/json":
        return True
    accepted = request.accept_mimetypes
    return bool(accepted) and accepted.best_match(["text/html", "application/json"]) == "application/json"


def answer(error: DomainError, status: int | None = None) -> Response:
    """Dress an error for whoever asked, with the headers its status calls for."""
    status = status or status_of(error)
    response = failure(error, status) if wants_json() else _page(error, status)
    response.headers.extend(request.environ.get("portico.spent", {}))
    response.headers.update(headers_of(error, status))
    return response


def headers_of(error: DomainError, status: int) -> dict[str, str]:
    """The headers that this status calls for (RFC 9110 sections 11.6.1 and 10.2.3)."""
    if status == 401:
        return {"WWW-Authenticate": _challenge(error)}
    if status in {429, 503}:
        return {"Retry-After": str(error.retry_after_seconds or RETRY_AFTER_SECONDS)}
    return {}


def init_app(app: Flask) -> None:
    """Register the handlers; nothing else in the product catches what services raise, but forms."""
    app.register_error_handler(DomainError, answer)
    app.register_error_handler(CSRFError, _csrf)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(PoolTimeout, _unavailable)
    app.register_error_handler(DBAPIError, _database)
    app.register_error_handler(MemoryError, _unavailable)
    app.register_error_handler(Exception, _unknown)


def _page(error: DomainError, status: int) -> Response:
    # No database and no visitor here: this must work while both are out of reach.
    page = render_template(
        "errors/foreign_host.html" if isinstance(error, errors.ForeignHost) else "errors/error.html",
        status=status,
        error=error,
        request_id=request.environ.get("portico.request_id", ""),
        current_user=None,
    )
    return Response(page, status=status, mimetype="text/html")


def _challenge(error: DomainError) -> str:
    if isinstance(error, errors.InvalidToken | errors.TokenExpired | errors.TokenReused):
        return f'Bearer realm="api", error="invalid_token", error_description="{error.title}"'
    return 'Bearer realm="api"'


def _csrf(error: CSRFError) -> Response:
    del error
    return answer(errors.CsrfFailed())


def _http(error: HTTPException) -> WsgiResponse:
    status = error.code or 500
    if status < 400 or error.response is not None:
        return error.get_response()  # a redirect of the router, as it stands
    kind = OF_HTTP.get(status) or (errors.BadRequest if status < 500 else errors.InternalError)
    response = answer(kind(), status)
    for name, value in error.get_headers():
        if name in {"Allow", "Content-Range"}:
            response.headers[name] = value
    return response


def _unavailable(error: Exception) -> Response:
    log.warning("resource_unavailable", reason=type(error).__name__)
    return answer(errors.Unavailable())


def _database(error: DBAPIError) -> Response:
    """The server is away, a time-out struck, a connection died, or it may not write: 503. Else it is our fault."""
    if isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated:
        return _unavailable(error.orig or error)
    if getattr(error.orig, "pgcode", None) in NOT_NOW:
        log.error("database_refuses", reason=type(error.orig).__name__, exc_info=error)
        return answer(errors.Unavailable())
    return _unknown(error)


def _unknown(error: Exception) -> Response:
    log.error("unhandled_exception", route=str(request.url_rule), exc_info=error)
    return answer(errors.InternalError())
