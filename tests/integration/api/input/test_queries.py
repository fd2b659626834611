"""A parameter that is wrong, unknown or given twice is refused by name; what is searched for is taken literally."""

import time

import pytest
from flask import Flask

from tests.clients import Api
from tests.factories import Person
from tests.integration.api.input.refusals import TOO_LARGE, fields, refused


@pytest.mark.parametrize("query", ["q=%ff", "%c3=1", "q=%ed%a0%80"])
def test_a_query_that_is_no_utf8_is_refused(api: Api, ada: Person, query: str) -> None:
    refused(api.as_(ada).get(f"/users?{query}"), 400, "BAD_REQUEST")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("page=0", "page"),
        ("page=-1", "page"),
        ("page=1.0", "page"),
        ("page=1_0", "page"),
        ("page=%2B1", "page"),
        ("page=+1", "page"),
        ("page=01", "page"),
        ("page=1e3", "page"),
        ("page=x", "page"),
        ("page=１", "page"),
        ("page=1000001", "page"),
        (f"page={TOO_LARGE}", "page"),
        ("page=1000000000000000000", "page"),
        (f"per_page={'9' * 3000}", "per_page"),
        ("per_page=0", "per_page"),
        ("per_page=101", "per_page"),
        ("cursor=x", "cursor"),
        ("cursor=a.b.c", "cursor"),
        ("cursor=%C3%A9", "cursor"),
        (f"cursor={'x' * 3000}", "cursor"),
        ("sort=password_hash", "sort"),
        ("sort=name,name", "sort"),
        ("sort=--name", "sort"),
        ("sort=name%3B%20DROP%20TABLE%20users", "sort"),
        ("sort=,", "sort"),
        ("q=%0a", "q"),
        (f"q={'x' * 201}", "q"),
        ("filter[is_active]=1", "filter[is_active]"),
        ("filter[role]=Admin", "filter[role]"),
        ("filter[role]=admin%20", "filter[role]"),
        ("filter[email]=x", "filter[email]"),
        ("filter=x", "filter"),
        ("PAGE=1", "PAGE"),
        ("callback=alert", "callback"),
        ("page=1&page=2", "page"),
        ("page=1&page=1", "page"),
    ],
)
def test_a_wrong_query_names_its_parameter(app: Flask, api: Api, ada: Person, query: str, field: str) -> None:
    answer = api.as_(ada).get(f"/users?{query}")
    assert fields(refused(answer, 422, "VALIDATION_ERROR")) == {field}


def test_a_nul_in_a_query_is_refused(api: Api, ada: Person) -> None:
    refused(api.as_(ada).get("/users?q=%00"), 400, "BAD_REQUEST")


def test_an_unknown_parameter_is_told_which_there_are(api: Api, ada: Person) -> None:
    details = refused(api.as_(ada).get("/users?order=name"), 422, "VALIDATION_ERROR")
    assert details["field"] == "order"
    for name in ("page", "per_page", "cursor", "sort", "q", "filter[role]"):
        assert name in details["error"]


def test_an_unsortable_field_is_told_which_there_are(api: Api, ada: Person) -> None:
    details = refused(api.as_(ada).get("/users?sort=password_hash"), 422, "VALIDATION_ERROR")
    assert "last_login_at" in details["error"]


def test_an_empty_parameter_counts_as_not_given(api: Api, ada: Person) -> None:
    answer = api.as_(ada).get("/users?q=&page=&per_page=&sort=&filter[role]=&filter[is_active]=")
    assert answer.status_code == 200
    assert answer.json["pagination"]["per_page"] == 20


def test_ten_thousand_parameters_are_too_many(api: Api, ada: Person) -> None:
    began = time.process_time()
    answer = api.as_(ada).get("/users?" + "&".join(f"p{number}=1" for number in range(10_000)))
    refused(answer, 400, "BAD_REQUEST")
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    "text", ["%", "_", "\\", "(", "'", '"', "$1", ":x", "%%", "\\%", "[", "*", "' OR 1=1 --"]
)
def test_a_search_is_literal(api: Api, ada: Person, bob: Person, text: str) -> None:
    answer = api.as_(ada).get("/users", query_string={"q": text})
    assert answer.status_code == 200
    assert answer.json["data"] == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("filter[from]=yesterday", "filter[from]"),
        ("filter[from]=0", "filter[from]"),
        ("filter[from]=1e9", "filter[from]"),
        ("filter[from]=2026-02-30", "filter[from]"),
        ("filter[to]=2026-13-01T00:00:00Z", "filter[to]"),
        ("filter[to]=10000-01-01", "filter[to]"),
        (f"filter[actor_id]={TOO_LARGE}", "filter[actor_id]"),
        ("filter[actor_id]=0", "filter[actor_id]"),
        ("filter[action]=%25", "filter[action]"),
    ],
)
def test_a_wrong_filter_of_events_names_itself(api: Api, ada: Person, query: str, field: str) -> None:
    answer = api.as_(ada).get(f"/audit-events?{query}")
    assert fields(refused(answer, 422, "VALIDATION_ERROR")) == {field}


@pytest.mark.parametrize(
    "moment",
    [
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59.999999Z",
        "2026-11-20",
        "2026-11-20T09:30:00-21:22",
        "2026-11-20T09:30:00%2B23:59",
    ],
)
def test_the_edges_of_time_are_answered(api: Api, ada: Person, moment: str) -> None:
    caller = api.as_(ada)
    for name in ("from", "to"):
        assert caller.get(f"/audit-events?filter[{name}]={moment}").status_code == 200


@pytest.mark.parametrize(
    "moment",
    [
        "0001-01-01T00:00:00%2B00:01",
        "9999-12-31T23:59:59-00:01",
        "2026-11-20T09:30",
        "2026-11-20T09:30:00",
        "2026-11-20T24:30:00Z",
        "20261120T093000Z",
        "2026-W47-5",
        "2026-11-20%2009:30:00Z",
        "2026-11-20T09:30:00%2B24:00",
    ],
)
def test_what_is_no_moment_names_its_filter(api: Api, ada: Person, moment: str) -> None:
    answer = api.as_(ada).get(f"/audit-events?filter[from]={moment}")
    assert fields(refused(answer, 422, "VALIDATION_ERROR")) == {"filter[from]"}


def test_a_list_may_be_sorted_by_everything(api: Api, ada: Person) -> None:
    names = ("-email", "-updated_at", "-last_login_at", "-role", "-id", "-created_at", "-name")
    assert api.as_(ada).get(f"/users?sort={','.join(names)}").status_code == 200
