"""What shows something and what does not: joiners stay where scripts need them, and are no name by themselves."""

import unicodedata
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from services.schemas.base import Label, LongText, Name, SomeLine
from services.schemas.seeing import hides_something, shows_something

pytestmark = pytest.mark.unit

NOTHING = [
    "\u200b",  # zero width space
    "\u200c\u200d",  # joiners
    "\u2060\ufeff",
    "\u00ad",  # soft hyphen
    "\u034f",  # combining grapheme joiner
    "\u061c",
    "\u115f\u1160",  # Hangul fillers
    "\u3164",
    "\uffa0",
    "\u17b4\u17b5",
    "\u180e",
    "\u2800",  # the blank of Braille
    "\ufe0f",  # a variation selector alone
    "\U000e0041\U000e007f",  # tags
    "\U000e0100",
    "\U0001d159",  # a note without a head
    "\U0001d173",
    "\U0001bca0",
    "\u0301",  # a mark alone
    "\u0301\u200d\u0327",
    "\u20e3",
    "\ue000",  # private use
    "\U000f0000",
    "\U0010fffd",
    "\ufdd0",
    "\uffff",
    "\ufff9",
    "\u3164 \u2800",
]
SOMETHING = [
    "A",
    "7",
    "-",
    "日",
    "\u0639\u0644\u06cc\u200c\u0631\u0636\u0627",  # Persian, with its joiner
    "\u0915\u094d\u200d\u0937",  # Devanagari
    "\u0d28\u0d4d\u200d",  # Malayalam
    "\U0001f469\u200d\U0001f469\u200d\U0001f467",  # a family
    "\u2764\ufe0f",
    "1\ufe0f\u20e3",
    "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",  # England
    "e\u0301",
    "\u0600",
    "\u0378",  # not assigned yet: a box, or tomorrow's letter
    "\u200bA\u200b",
]


@pytest.mark.parametrize("kind", [Name, SomeLine, Label, LongText], ids=["name", "line", "label", "text"])
@pytest.mark.parametrize("text", NOTHING, ids=ascii)
def test_a_text_that_shows_nothing_is_refused(kind: Any, text: str) -> None:
    assert not shows_something(text)
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(text, strict=True)


@pytest.mark.parametrize("kind", [Name, SomeLine, Label, LongText], ids=["name", "line", "label", "text"])
@pytest.mark.parametrize("text", SOMETHING, ids=ascii)
def test_a_text_that_shows_something_is_taken_as_it_is(kind: Any, text: str) -> None:
    assert TypeAdapter(kind).validate_python(text, strict=True) == unicodedata.normalize("NFC", text)


def test_a_label_may_be_nothing_at_all() -> None:
    assert TypeAdapter(Label).validate_python("  ", strict=True) == ""


def test_letters_of_every_script_hide_nothing() -> None:
    letters = (chr(code) for code in range(0x110000))
    odd = [char for char in letters if unicodedata.category(char)[0] in "LN" and hides_something(char)]
    assert odd == ["\u115f", "\u1160", "\u3164", "\uffa0"]


def test_no_line_is_long_enough_to_keep_the_machine_busy() -> None:
    with pytest.raises(ValidationError, match="at most 1000"):
        TypeAdapter(Name).validate_python("a" + "\u0301\u0327" * 200_000, strict=True)
