"""The document and the validators say the same of every text, and cleaning it twice changes nothing."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator
from pydantic import TypeAdapter, ValidationError

from services.schemas.base import Line, LongText, Name, Opaque, Password
from services.schemas.role import RoleName

pytestmark = pytest.mark.unit

KINDS: list[Any] = [Line, LongText, Name, Opaque, Password, RoleName]
TEXT = st.text(
    st.characters(exclude_categories=["Cs"])
    | st.sampled_from(list(" \t\n\r\x00\x1f\x7f\x85\u00a0\u200b\u200e\u2028\u2029\u202e\u2066\u3000\ufeffa")),
    max_size=20,
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind)[-40:])
@given(text=TEXT)
def test_schema_and_validator_agree(kind: Any, text: str) -> None:
    adapter: TypeAdapter[str] = TypeAdapter(kind)
    documented = Draft202012Validator(adapter.json_schema()).is_valid(text)
    is_unseen = False
    try:
        cleaned: str | None = adapter.validate_python(text, strict=True)
    except ValidationError as refusal:
        # Marks without a letter, and what lies beyond U+FFFF, fit into no pattern that every reader takes.
        is_unseen = refusal.errors()[0]["type"] == "invisible"
        cleaned = None
    assert documented == (cleaned is not None) or (documented and is_unseen)
    if cleaned is not None:
        assert adapter.validate_python(cleaned) == cleaned


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind)[-40:])
def test_half_a_surrogate_pair_is_no_text(kind: Any) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python("a\ud800b", strict=True)
