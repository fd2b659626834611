"""How long the audit log is kept: long enough to look back, or for ever."""

import pytest

from config import ProductionConfig, TestingConfig

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("days", ["-1", "1", "89", "36501", "for ever", "4.5"])
def test_too_short_a_time_is_refused_at_start(days: str) -> None:
    for settings in (TestingConfig, ProductionConfig):
        assert "AUDIT_RETENTION_DAYS" in settings.draft(AUDIT_RETENTION_DAYS=days)[1]


@pytest.mark.parametrize("days", ["0", "90", "3650"])
def test_ninety_days_and_for_ever_are_fine(days: str) -> None:
    loaded = TestingConfig.load(AUDIT_RETENTION_DAYS=days).model_dump()
    assert loaded["AUDIT_RETENTION_DAYS"] == int(days)
