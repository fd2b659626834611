"""Files that are made for a visitor to keep."""

from flask import Response

from services.clock import now


def csv_file(text: str, name: str) -> Response:
    """A CSV file called `name` and today's date; `name` is ours, never a visitor's."""
    response = Response(text, content_type="text/csv; charset=utf-8")
    response.headers.set("Content-Disposition", "attachment", filename=f"{name}-{now():%Y-%m-%d}.csv")
    return response


def json_file(content: bytes, name: str) -> Response:
    """A JSON file called `name` and today's date; `name` is ours, never a visitor's."""
    response = Response(content, content_type="application/json")
    response.headers.set("Content-Disposition", "attachment", filename=f"{name}-{now():%Y-%m-%d}.json")
    return response
