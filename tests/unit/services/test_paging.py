"""Cursors: what goes in comes out, and nobody else's word is taken for ours."""

from collections.abc import Iterator
from datetime import UTC
from typing import Any, cast

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Row

from services.errors import Invalid
from services.paging import _read_cursor, _write_cursor
from services.schemas.audit import AuditQuery
from services.schemas.base import PageQuery
from services.schemas.user import UserQuery

pytestmark = pytest.mark.unit

MOMENTS = st.datetimes(timezones=st.just(UTC))
VALUES = st.lists(st.integers(1, 2**63 - 1) | st.text(max_size=50) | MOMENTS, min_size=1, max_size=4)


@pytest.fixture(scope="module", autouse=True)
def context() -> Iterator[None]:
    app = Flask(__name__)
    app.config["SECRET_KEY"] = "a key for cursors"
    with app.app_context():
        yield


def row(values: list[Any]) -> Row[Any]:
    return cast("Row[Any]", ("something before", *values))  # a row, as far as a cursor looks


def written(values: list[Any], *, backwards: bool = False, sort: str | None = None) -> str:
    return _write_cursor(UserQuery(sort=sort), row(values), len(values), backwards=backwards)


def read(cursor: str, query: type[PageQuery] = UserQuery, sort: str | None = None) -> tuple[bool, list[Any]]:
    return _read_cursor(query.model_validate({"cursor": cursor, **({"sort": sort} if sort else {})}))


@given(values=VALUES, backwards=st.booleans())
def test_what_goes_in_comes_out(values: list[Any], backwards: bool) -> None:
    assert read(written(values, backwards=backwards)) == (backwards, values)


@given(values=VALUES, data=st.data())
def test_a_changed_cursor_is_refused(values: list[Any], data: st.DataObject) -> None:
    cursor = written(values)
    # The last letter of a signature bears bits that decode to nothing.
    place = data.draw(st.integers(0, len(cursor) - 2))
    letter = data.draw(
        st.characters(min_codepoint=33, max_codepoint=126).filter(lambda x: x != cursor[place])
    )
    with pytest.raises(Invalid):
        read(cursor[:place] + letter + cursor[place + 1 :])


@given(cursor=st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=200))
def test_an_invented_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(Invalid) as refusal:
        read(cursor)
    assert refusal.value.details["field"] == "cursor"


def test_a_cursor_belongs_to_its_list_and_its_sort() -> None:
    cursor = written([7], sort="id")
    assert read(cursor, sort="id") == (False, [7])
    with pytest.raises(Invalid):
        read(cursor)
    with pytest.raises(Invalid):
        read(cursor, query=AuditQuery, sort="id")


def test_the_longest_values_there_are_fit() -> None:
    name = "".join(chr(0x20000 + number * 37) for number in range(120))
    email = "".join(chr(0x20000 + number * 53) for number in range(254))
    assert read(written([name, email, 2**63 - 1])) == (False, [name, email, 2**63 - 1])


def test_an_empty_cursor_starts_a_walk() -> None:
    assert UserQuery.model_validate({"cursor": ""}).cursor == ""
    assert UserQuery.model_validate({}).cursor is None
