"""What the tests of wrong requests share: the refusal in its envelope, and numbers that are too large.

Anything wrong in a request is a clear 4xx, changes nothing and never becomes a 500 (security cases A57, A65, A94, A97,
A100 to A106).
"""

from typing import Any

from tests.clients import Answer

JSON = "application/json"
#: A whole number that no bigint holds, and one that Python itself refuses to read.
TOO_LARGE, ABSURD = 2**63, "9" * 4301


def refused(answer: Answer, status: int, code: str) -> Any:
    """The details of the error, once it is the right one and wears the envelope."""
    assert answer.status_code == status, answer.data
    assert answer.mimetype == JSON
    body = answer.json
    assert body["success"] is False
    assert body["error"]["code"] == code
    assert body["error"]["request_id"] == answer.headers["X-Request-ID"]
    return body["error"].get("details", {})


def fields(details: Any) -> set[str]:
    """The fields that are named as faulty."""
    return {fault["field"] for fault in details["errors"]}
