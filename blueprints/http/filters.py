"""Query strings of pages: plain names and people's slips, turned into the same schemas that the API uses.

An address may be typed, cut or old. What can't be read is left out and said beside its field; the page is shown all
the same.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Generic, TypeVar

from flask import request
from pydantic import ValidationError

from blueprints.http.validation import faults
from services.errors import Invalid
from services.paging import Listing
from services.schemas.base import PageQuery

Q = TypeVar("Q", bound=PageQuery)

#: Where in the list. Slips here lead to the beginning without a word: nobody types these.
PLACES = ("page", "cursor", "sort")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


@dataclass(frozen=True, slots=True)
class Filter:
    """What a filter is called on the page, and which parameters of the schema a typed text stands for."""

    label: str
    read: Callable[[str], Mapping[str, str]]


def plain(label: str, parameter: str) -> Filter:
    """The typed text is the parameter."""
    return Filter(label, lambda text: {parameter: text})


def one_of(label: str, choices: Mapping[str, Mapping[str, str]]) -> Filter:
    """One of a few words, each of which stands for some parameters."""

    def read(text: str) -> Mapping[str, str]:
        if text not in choices:
            raise Invalid.field("", f"Must be one of: {', '.join(choices)}", "unknown_choice")
        return choices[text]

    return Filter(label, read)


def last_day(label: str, parameter: str) -> Filter:
    """A day that is still part of it, for a parameter that means "before"."""

    def read(text: str) -> Mapping[str, str]:
        if not _DAY.fullmatch(text):
            return {parameter: text}
        try:
            return {parameter: (date.fromisoformat(text) + timedelta(days=1)).isoformat()}
        except (ValueError, OverflowError):
            raise Invalid.field("", "There is no such date", "datetime") from None

    return Filter(label, read)


class Filters(Generic[Q]):
    """The query of a page: `query` for services, `values` as typed ("" when not set), `errors` [(name, text)]."""

    def __init__(self, schema: type[Q], filters: Mapping[str, Filter], **always: str) -> None:
        self.values = {name: _typed(name) for name in filters}
        self.errors: list[tuple[str, str]] = []
        given = dict(always)
        for name, text in self.values.items():
            if text:
                given |= self._read(schema, name, filters[name])
        for name in PLACES:
            if text := _typed(name):
                given |= _if_valid(schema, {name: text})
        self.query = schema.model_validate(given)

    @property
    def sort(self) -> str:
        """The order in force, such as `-created_at`."""
        return self.query.sort or self.query.default_sort

    @property
    def kept(self) -> dict[str, Any]:
        """The filters that are set, for the addresses of other views of the same rows."""
        return {name: text for name, text in self.values.items() if text}

    def listing(self, page: Callable[[Q], Listing]) -> Listing:
        """What `page` lists: from the start with a cursor we did not give out, and the last page beyond the end."""
        try:
            listing = page(self.query)
        except Invalid:
            return page(self.query.model_copy(update={"cursor": ""}))
        if listing.rows or self.query.page == 1 or self.query.cursor is not None:
            return listing
        return page(self.query.model_copy(update={"page": max(listing.pages or 1, 1)}))

    def _read(self, schema: type[Q], name: str, filter_: Filter) -> Mapping[str, str]:
        try:
            wanted = filter_.read(self.values[name])
            _check(schema, wanted)
        except Invalid as fault:
            told = fault.details["error"]
            self.errors.append((name, f"{filter_.label}: {told}. This filter was left out."))
            return {}
        return wanted


def choices(names: Iterable[str], parameter: str) -> dict[str, dict[str, str]]:
    """Choices for `one_of` that are the values of one parameter."""
    return {name: {parameter: name} for name in names}


def _typed(name: str) -> str:
    return _CONTROLS.sub("", request.args.get(name, "")).strip()


def _check(schema: type[PageQuery], given: Mapping[str, str]) -> None:
    try:
        schema.model_validate(given)
    except ValidationError as error:
        raise faults(error) from None


def _if_valid(schema: type[PageQuery], given: Mapping[str, str]) -> Mapping[str, str]:
    try:
        _check(schema, given)
    except Invalid:
        return {}
    return given
