"""Whatever bytes come in, they are a schema's value or a refusal with a name; never anything else."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter

from blueprints.http.validation import MAX_DEPTH, MAX_FAULTS, read_json, read_query
from services.errors import Invalid, MalformedJson, UnsupportedMediaType
from services.schemas.base import In, Line, PageQuery

pytestmark = pytest.mark.unit


class NoteIn(In):
    """Something to try out."""

    title: Annotated[Line, Field(min_length=2, max_length=10)] = Field(title="Title")
    tags: list[Annotated[Line, Field(max_length=5)]] = Field(default_factory=list, title="Tags")
    stars: Annotated[int, Field(ge=1, le=5)] = Field(3, title="Stars")


class NoteQuery(PageQuery):
    """Which of them."""

    sorts = ("title", "created_at")


NOTE: TypeAdapter[NoteIn] = TypeAdapter(NoteIn)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
app = Flask(__name__)


def read(data: bytes, content_type: str = "application/json") -> NoteIn:
    with app.test_request_context(method="POST", data=data, content_type=content_type):
        note: NoteIn = read_json(NOTE)
    return note


def faults(refusal: pytest.ExceptionInfo[Invalid]) -> dict[str, tuple[str, str]]:
    return {fault["field"]: (fault["error"], fault["code"]) for fault in refusal.value.details["errors"]}


@given(data=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises((MalformedJson, Invalid)):
        read(data)


@given(value=st.dictionaries(st.sampled_from(["title", "tags", "stars", "x"]) | st.text(), JSON_VALUES))
def test_any_object_is_read_or_refused_by_field(value: dict[str, Any]) -> None:
    with suppress(Invalid):
        assert read(json.dumps(value).encode()).model_fields_set == value.keys()


@given(depth=st.integers(1, 80), opening=st.sampled_from(['{"a":', "["]))
def test_depth_is_counted(depth: int, opening: str) -> None:
    closing = "}" if opening.startswith("{") else "]"
    data = '{"title": ' + opening * depth + "1" + closing * depth + "}"
    with pytest.raises(MalformedJson if depth >= MAX_DEPTH else Invalid) as refusal:
        read(data.encode())
    assert ("deep" in refusal.value.message) == (depth >= MAX_DEPTH)


@given(text=st.text('[]{}"\\ab', max_size=10).map(json.dumps))
def test_brackets_in_text_do_not_count(text: str) -> None:
    data = '{"tags": [' + ", ".join([text] * 20) + "]}"
    with pytest.raises(Invalid):
        read(data.encode())


def test_every_fault_is_told_with_its_path() -> None:
    with pytest.raises(Invalid) as refusal:
        read(b'{"title": "x", "tags": ["a", "too long", 3], "stars": 9, "colour": "red"}')
    assert faults(refusal) == {
        "title": ("Use at least 2 characters", "string_too_short"),
        "tags.1": ("Use at most 5 characters", "string_too_long"),
        "tags.2": ("Must be text", "string_type"),
        "stars": ("Must be at most 5", "less_than_equal"),
        "colour": ("There is no such field", "extra_forbidden"),
    }
    assert refusal.value.details["field"] == "title"


def test_a_needed_field_is_said_to_be_needed() -> None:
    with pytest.raises(Invalid) as refusal:
        read(b"{}")
    assert faults(refusal) == {"title": ("This is needed", "missing")}


def test_a_thousand_faults_are_told_in_short() -> None:
    with pytest.raises(Invalid) as refusal:
        read(json.dumps({f"f{number}": 1 for number in range(1000)}).encode())
    assert len(refusal.value.details["errors"]) == MAX_FAULTS


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/jsonp", "application/vnd.api+json"])
def test_another_media_type_is_not_read(content_type: str) -> None:
    with pytest.raises(UnsupportedMediaType):
        read(b'{"title": "good"}', content_type)


@pytest.fixture
def query() -> Callable[[str], NoteQuery]:
    def ask(text: str) -> NoteQuery:
        with app.test_request_context(f"/?{text}"):
            found: NoteQuery = read_query(NoteQuery)
        return found

    return ask


def test_a_query_is_read_from_text(query: Callable[[str], NoteQuery]) -> None:
    found = query("page=2&per_page=5&sort=-title")
    assert (found.page, found.per_page, found.order()) == (2, 5, [("title", True)])


def test_empty_values_count_as_not_given(query: Callable[[str], NoteQuery]) -> None:
    assert query("page=&sort=") == NoteQuery()


@pytest.mark.parametrize("text", ["page=1&page=2", "page=&page=", "x=1&x=2"])
def test_a_name_given_twice_is_refused(query: Callable[[str], NoteQuery], text: str) -> None:
    with pytest.raises(Invalid) as refusal:
        query(text)
    assert refusal.value.details["errors"][0]["code"] == "duplicate"


def test_an_unknown_name_is_told_which_there_are(query: Callable[[str], NoteQuery]) -> None:
    for text in ("order=title", "order=", "Page=1", "filter[title]=x"):
        with pytest.raises(Invalid) as refusal:
            query(text)
        (told,) = faults(refusal).values()
        assert told == (
            "There is no such parameter; there are: page, per_page, cursor, sort",
            "extra_forbidden",
        )


@given(text=st.text(max_size=12))
def test_only_plain_digits_are_a_number(text: str) -> None:
    is_plain = text.isascii() and text.isdigit() and not text.startswith("0") and int(text) <= 1_000_000
    with app.test_request_context("/", query_string={"page": text}):
        if is_plain or not text:
            assert read_query(NoteQuery).page == (int(text) if text else 1)
            return
        with pytest.raises(Invalid):
            read_query(NoteQuery)
