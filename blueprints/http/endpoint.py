"""`@endpoint`: an API view's contract. It validates, calls, dresses and documents, from the same schemas."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from flask import Response, current_app, request
from pydantic import TypeAdapter

from blueprints.http import budget, idempotency
from blueprints.http.access import Rule, bearer
from blueprints.http.envelope import success
from blueprints.http.marks import mark
from blueprints.http.validation import read_json, read_query
from services.errors import DomainError
from services.paging import Listing
from services.schemas.base import Nothing, PageQuery, Query, etag_of

NO_DATA = b"null"


@dataclass(frozen=True)
class Contract:
    """What an endpoint takes, gives and refuses; the API document is made of these."""

    view: Callable[..., Any]
    allow: Rule
    out: Any
    body: Any
    query: type[Query] | None
    status: int
    message: str
    errors: tuple[type[DomainError], ...]
    many: bool
    takes: frozenset[str]
    also: tuple[str, ...]
    #: A file: the name of its field in a form, and the media types it may have as the whole body.
    uploads: tuple[str, tuple[str, ...]] | None
    read_body: TypeAdapter[Any] | None = field(repr=False)
    write: TypeAdapter[Any] = field(repr=False)

    @property
    def summary(self) -> str:
        """The view's first line, for strangers."""
        return (inspect.getdoc(self.view) or "").splitlines()[0]

    @property
    def description(self) -> str:
        """What follows the first line."""
        return "\n".join((inspect.getdoc(self.view) or "").splitlines()[1:]).strip()


def endpoint(
    *,
    allow: Rule,
    out: Any = Nothing,
    body: Any = None,
    query: type[Query] | None = None,
    status: int = 200,
    message: str = "OK",
    errors: tuple[type[DomainError], ...] = (),
    also: tuple[str, ...] = (),
    uploads: tuple[str, tuple[str, ...]] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Response]]:
    """Turn a two-line view into an API endpoint.

    The view is given what its signature names: path parameters, `body`, `query`, `by` (the caller) and `expected` (the
    tags of If-Match, or None). It returns a row, a `Listing`, None, or a ready Response. `errors` are what its service
    raises beyond what follows from rule and parameters; `also` are the media types of its ready Responses.
    """

    def decorate(view: Callable[..., Any]) -> Callable[..., Response]:
        contract = Contract(
            view=view,
            allow=allow,
            out=out,
            body=body,
            query=query,
            status=status,
            message=message,
            errors=errors,
            many=query is not None and issubclass(query, PageQuery),
            takes=frozenset(inspect.signature(view).parameters),
            also=also,
            uploads=uploads,
            read_body=TypeAdapter(body) if body else None,
            write=TypeAdapter(list[out] if query and issubclass(query, PageQuery) else out),
        )

        @wraps(view)
        def answer(**given: Any) -> Response:
            by = bearer() if allow.signed_in else None
            spent = request.environ["portico.spent"] = budget.spend(by)
            if by is not None:
                allow.check(by)
            _gather(contract, given, by)
            response = idempotency.once(by, lambda: _respond(contract, view(**given)))
            response.headers.extend(spent)
            return response

        return mark(answer, contract=contract, access=allow)

    return decorate


def _gather(contract: Contract, given: dict[str, Any], by: Any) -> None:
    if contract.query is not None:
        given["query"] = read_query(contract.query)
    if contract.read_body is not None:
        given["body"] = read_json(contract.read_body)
    if "by" in contract.takes:
        given["by"] = by
    if "expected" in contract.takes:
        given["expected"] = _expected()


def _expected() -> frozenset[str] | None:
    """The tags of If-Match. None without one, or with `*`: the resource exists, or the view says 404."""
    tags = request.if_match
    return None if "If-Match" not in request.headers or tags.star_tag else frozenset(tags.as_set())


def _respond(contract: Contract, result: Any) -> Response:
    if isinstance(result, Response):
        return result
    if result is None:
        return success(NO_DATA, message=contract.message, status=contract.status)
    listing = result if isinstance(result, Listing) else None
    rows = listing.rows if listing is not None else result
    data = contract.write.dump_json(contract.write.validate_python(rows, from_attributes=True))
    pagination = _pagination(listing) if listing is not None else None
    if request.method not in {"GET", "HEAD"}:
        return success(data, message=contract.message, status=contract.status)
    tag = etag_of(data + repr(pagination).encode() if pagination else data)
    if request.if_none_match.contains_weak(tag):
        response = Response(status=304)
        del response.headers["Content-Type"]
    else:
        response = success(data, message=contract.message, status=contract.status, pagination=pagination)
    response.set_etag(tag)
    if pagination is not None:
        _link(response, pagination)
    return response


def _pagination(listing: Listing) -> dict[str, Any]:
    return {
        "page": listing.page,
        "per_page": listing.per_page,
        "total": listing.total,
        "total_is_exact": listing.total_is_exact,
        "pages": listing.pages,
        "next": _url(listing.next) if listing.next else None,
        "prev": _url(listing.prev) if listing.prev else None,
    }


def _url(change: dict[str, Any]) -> str:
    query = {name: value for name, value in request.args.items() if name not in {"page", "cursor"}}
    return f"{current_app.config['BASE_URL']}{request.path}?{urlencode({**query, **change})}"


def _link(response: Response, pagination: dict[str, Any]) -> None:
    links = [f'<{pagination[name]}>; rel="{name}"' for name in ("next", "prev") if pagination[name]]
    if links:
        response.headers["Link"] = ", ".join(links)
