"""Lists: a page by number, or by cursor however deep; totals exact up to 10,000."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from flask import current_app
from itsdangerous import BadSignature, URLSafeSerializer
from sqlalchemy import ColumnElement, SQLColumnExpression, and_, bindparam, func, literal, or_, select

from models.base import AnyRow, AnySelect
from models.reading import Prepared
from services.base_service import fetch, fetch_all, fetch_first
from services.errors import Invalid
from services.schemas.base import PageQuery

EXACT_UP_TO = 10_000


@dataclass(frozen=True, slots=True)
class Listing:
    """Some rows of a list. `next` and `prev` are the query parameters that lead on and back; None at an end.

    `page` and `pages` are None when a cursor leads. A total that is not exact is the least there is.
    """

    rows: Sequence[AnyRow]
    per_page: int
    total: int
    total_is_exact: bool
    page: int | None = None
    pages: int | None = None
    next: dict[str, Any] | None = None
    prev: dict[str, Any] | None = None


def page_of(
    statement: AnySelect,
    query: PageQuery,
    *,
    sorts: Mapping[str, SQLColumnExpression[Any]],
    key: SQLColumnExpression[Any],
) -> Listing:
    """The rows of `statement` that `query` asks for, in stable order (`key` decides between equals).

    A `statement` without a WHERE must be the same object each time: what is sent for it is made once and kept.
    `sorts` maps each name in `query.sorts` to an expression that is never NULL and has an index.
    At most two statements, whatever the length of the list.
    """
    order = [(sorts[name], descending) for name, descending in query.order()]
    order.append((key, order[0][1]))
    if query.cursor is not None:
        return _by_cursor(statement, query, order)
    return _by_number(statement, query, order)


def _by_number(
    statement: AnySelect, query: PageQuery, order: list[tuple[SQLColumnExpression[Any], bool]]
) -> Listing:
    offset = (query.page - 1) * query.per_page
    rows = _rows(statement, order, query.per_page, offset)
    if 0 < len(rows) < query.per_page or (not rows and query.page == 1):
        total, exact = offset + len(rows), True
    else:
        total, exact = count(statement)
    pages = -(-total // query.per_page)
    return Listing(
        rows=rows,
        page=query.page,
        per_page=query.per_page,
        total=total,
        total_is_exact=exact,
        pages=pages,
        next={"page": query.page + 1} if query.page < pages or (rows and not exact) else None,
        prev={"page": min(query.page - 1, max(pages, 1))} if query.page > 1 else None,
    )


def _rows(
    statement: AnySelect, order: list[tuple[SQLColumnExpression[Any], bool]], limit: int, offset: int
) -> Sequence[Any]:
    if statement.whereclause is None:
        return fetch_all(_prepared_rows(statement, tuple(order)), {"_limit": limit, "_offset": offset})
    return fetch(_ordered(statement, order).limit(limit).offset(offset), {}).all()


@lru_cache(maxsize=64)
def _prepared_rows(
    statement: AnySelect, order: tuple[tuple[SQLColumnExpression[Any], bool], ...]
) -> Prepared:
    return Prepared(_ordered(statement, order).limit(bindparam("_limit")).offset(bindparam("_offset")))


@lru_cache(maxsize=16)
def _prepared_count(statement: AnySelect) -> Prepared:
    return Prepared(_counting(statement))


def _ordered(statement: AnySelect, order: Iterable[tuple[SQLColumnExpression[Any], bool]]) -> AnySelect:
    return statement.order_by(*(column.desc() if down else column.asc() for column, down in order))


def _by_cursor(
    statement: AnySelect, query: PageQuery, order: list[tuple[SQLColumnExpression[Any], bool]]
) -> Listing:
    backwards, values = _read_cursor(query)
    positions: list[ColumnElement[Any]] = [
        column.label(f"_position_{number}") for number, (column, _) in enumerate(order)
    ]
    walk = [(column, down != backwards) for column, down in order]
    ordered = _ordered(statement.add_columns(*positions), walk)
    if values:
        ordered = ordered.where(_beyond(walk, values))
    rows = fetch(ordered.limit(query.per_page + 1), {}).all()
    more = len(rows) > query.per_page
    rows = list(reversed(rows[: query.per_page])) if backwards else rows[: query.per_page]
    total, exact = count(statement)
    has_next = bool(rows) and (more or backwards)
    has_prev = bool(rows) and (bool(values) if not backwards else more)
    return Listing(
        rows=rows,
        per_page=query.per_page,
        total=total,
        total_is_exact=exact,
        next={"cursor": _write_cursor(query, rows[-1], len(order), backwards=False)} if has_next else None,
        prev={"cursor": _write_cursor(query, rows[0], len(order), backwards=True)} if has_prev else None,
    )


def count(statement: AnySelect) -> tuple[int, bool]:
    """How many rows, and whether that is exact: beyond 10,000 counting would cost more than the page itself."""
    if statement.whereclause is None:
        total: int = fetch_first(_prepared_count(statement), {}).total
    else:
        total = fetch(_counting(statement), {}).scalar_one()
    return total, total <= EXACT_UP_TO


def _counting(statement: AnySelect) -> AnySelect:
    some = (
        statement.with_only_columns(literal(1), maintain_column_froms=True)
        .order_by(None)
        .limit(EXACT_UP_TO + 1)
        .subquery()
    )
    return select(func.count().label("total")).select_from(some)


def _beyond(walk: list[tuple[SQLColumnExpression[Any], bool]], values: list[Any]) -> ColumnElement[bool]:
    """The rows after `values` in this order, as (a > x) or (a = x and b > y) …"""
    alternatives = []
    for depth, (column, down) in enumerate(walk):
        equal = [walk[above][0] == values[above] for above in range(depth)]
        alternatives.append(and_(*equal, column < values[depth] if down else column > values[depth]))
    return or_(*alternatives)


def _signer(query: PageQuery) -> URLSafeSerializer:
    # A cursor of another list holds values of other types, which PostgreSQL would stumble over.
    salt = f"list-cursor:{type(query).__name__}"
    # As UTF-8: escaped, a long name in Chinese would not fit into the parameter.
    return URLSafeSerializer(
        current_app.config["SECRET_KEY"], salt=salt, serializer_kwargs={"ensure_ascii": False}
    )


def _write_cursor(query: PageQuery, row: AnyRow, columns: int, *, backwards: bool) -> str:
    values = [_plain(value) for value in tuple(row)[-columns:]]
    return str(_signer(query).dumps([query.sort or query.default_sort, backwards, values]))


def _read_cursor(query: PageQuery) -> tuple[bool, list[Any]]:
    if not query.cursor:
        return False, []
    try:
        sort, backwards, values = _signer(query).loads(query.cursor)
    except (BadSignature, ValueError):
        raise Invalid.field("cursor", "This is not a cursor we gave out", "cursor") from None
    if sort != (query.sort or query.default_sort):
        raise Invalid.field("cursor", "This cursor belongs to another sort", "cursor")
    return backwards, [_back(value) for value in values]


def _plain(value: Any) -> Any:
    return {"t": value.isoformat()} if isinstance(value, datetime) else value


def _back(value: Any) -> Any:
    return datetime.fromisoformat(value["t"]) if isinstance(value, dict) else value
