"""What the security pages promise has a test that exists."""

import re
from functools import cache
from pathlib import Path

from tests.asvs import PAGE, ROOT, STATES, Row, page, rows

TESTS = ROOT / "tests"


@cache
def tests_of(path: Path) -> frozenset[str]:
    return frozenset(re.findall(r"^def test_(\w+)\(", path.read_text(encoding="utf-8"), flags=re.MULTILINE))


def missing(row: Row) -> list[str]:
    found = []
    for name in row.evidence:
        file, _, test = name.partition("::")
        path = TESTS / f"{file}.py"
        if not path.exists() or test not in tests_of(path):
            found.append(name)
    return found


def test_every_named_test_exists() -> None:
    assert [name for row in rows() for name in missing(row)] == []


def test_what_is_met_is_shown() -> None:
    assert [row.about for row in rows() if row.state not in STATES] == []
    assert [row.about for row in rows() if row.state in {"met", "deviation"} and not row.evidence] == []


def test_no_requirement_is_named_twice() -> None:
    numbers = [number for row in rows() for number, _ in row.numbers]
    assert sorted({number for number in numbers if numbers.count(number) > 1}) == []


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m tests.asvs > docs/security/asvs.md"
