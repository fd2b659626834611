"""The way through a list on a page: addresses that keep the filter and change the place."""

from typing import Any
from urllib.parse import urlencode

from flask import request

from services.paging import Listing

PLACES = frozenset({"page", "cursor"})


class Pagination:
    """What the macros `pagination` and `cursor` need. `page` and `pages` are 0 where a cursor leads."""

    def __init__(self, listing: Listing) -> None:
        self.page = listing.page or 0
        self.pages = listing.pages or 0
        self.per_page = listing.per_page
        self.total = listing.total
        self.is_exact = listing.total_is_exact
        self.next_url = address(listing.next) if listing.next else None
        self.prev_url = address(listing.prev) if listing.prev else None

    def url_for_page(self, number: int) -> str:
        """The address of another page of the same list."""
        return address({"page": number})


def sort_url(key: str, sort: str) -> str:
    """The address of the list ordered by `key`, or the other way round if `sort` says that it is already."""
    return address({"sort": f"-{key}" if sort == key else key})


def address(change: dict[str, Any]) -> str:
    """The address in use with other parameters; the place in the list is dropped, since it was one in another."""
    kept = {name: text for name, text in request.args.items() if text and name not in PLACES}
    return f"{request.path}?{urlencode({**kept, **change})}"
