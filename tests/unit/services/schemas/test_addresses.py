"""One spelling for each address, and the same for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.schemas.addresses import canonical, comparable

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("typed", "spelled"),
    [
        ("Ada@Example.COM", "ada@example.com"),
        (" ada@example.com\r\n", "ada@example.com"),
        ("ada@b\u00fccher.example", "ada@b\u00fccher.example"),
        ("ada@B\u00dcCHER.example", "ada@b\u00fccher.example"),
        ("ada@XN--BCHER-KVA.example", "ada@b\u00fccher.example"),
        ("ada@bu\u0308cher.example", "ada@b\u00fccher.example"),
        ("ada@\uff45xample\u3002com", "ada@example.com"),
        ("ada@fa\u00df.de", "ada@fa\u00df.de"),
        ("\u00c9VE@example.com", "\u00c9ve@example.com"),
        ("E\u0301ve@example.com", "\u00c9ve@example.com"),
        ("m\u0130ke@example.com", "m\u0130ke@example.com"),
        ("\u017fam@example.com", "\u017fam@example.com"),  # the long s, whose capital is S
        ("Ada+News_%!#@example.com", "ada+news_%!#@example.com"),
    ],
)
def test_an_address_has_one_spelling(typed: str, spelled: str) -> None:
    assert canonical(typed) == spelled
    assert canonical(spelled) == spelled


@pytest.mark.parametrize(
    "text", ["", "ada", "ada@", "@example.com", "mi\u212ae@example.com", "=?a?q?b?=@example.com"]
)
def test_what_is_no_address_is_compared_as_it_is(text: str) -> None:
    with pytest.raises(ValueError, match="address"):
        canonical(text)
    assert comparable(text) == text


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_any_text_is_spelled_or_refused(text: str) -> None:
    for address in (text, f"{text}@example.com", f"ada@{text}.example"):
        assert comparable(comparable(address)) == comparable(address)
