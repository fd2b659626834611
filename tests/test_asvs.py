"""What the security pages promise has a test that exists."""

import re
from functools import cache
from pathlib import Path

from tests.asvs import PAGE, ROOT, STATES, Row, page, rows

TESTS = ROOT / "tests"
#: Every requirement of levels 1 and 2, by section.
LEVELS_1_AND_2 = """
    1.1:1,2 1.2:1,2,3,4,5,6,7,8,9 1.3:1,2,3,4,5,6,7,8,9,10,11 1.4:1,2,3 1.5:1,2 2.1:1,2,3 2.2:1,2,3
    2.3:1,2,3,4 2.4:1 3.2:1,2 3.3:1,2,3,4 3.4:1,2,3,4,5,6 3.5:1,2,3,4,5 3.7:1,2 4.1:1,2,3 4.2:1
    4.3:1,2 4.4:1,2,3,4 5.1:1 5.2:1,2,3 5.3:1,2 5.4:1,2,3 6.1:1,2,3 6.2:1,2,3,4,5,6,7,8,9,10,11,12
    6.3:1,2,3,4 6.4:1,2,3,4 6.5:1,2,3,4,5 6.6:1,2,3 6.8:1,2,3,4 7.1:1,2,3 7.2:1,2,3,4 7.3:1,2
    7.4:1,2,3,4,5 7.5:1,2 7.6:1,2 8.1:1,2 8.2:1,2,3 8.3:1 8.4:1 9.1:1,2,3 9.2:1,2,3,4 10.1:1,2
    10.2:1,2 10.3:1,2,3,4 10.4:1,2,3,4,5,6,7,8,9,10,11 10.5:1,2,3,4,5 10.6:1,2 10.7:1,2,3 11.1:1,2
    11.2:1,2,3 11.3:1,2,3 11.4:1,2,3,4 11.5:1 11.6:1 12.1:1,2,3 12.2:1,2 12.3:1,2,3,4 13.1:1
    13.2:1,2,3,4,5 13.3:1,2 13.4:1,2,3,4,5 14.1:1,2 14.2:1,2,3,4 14.3:1,2,3 15.1:1,2,3 15.2:1,2,3
    15.3:1,2,3,4,5,6,7 16.1:1 16.2:1,2,3,4,5 16.3:1,2,3,4 16.4:1,2,3 16.5:1,2,3 17.1:1 17.2:1,2,3,4
    17.3:1,2
"""


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


def test_every_requirement_of_levels_1_and_2_is_answered() -> None:
    wanted = {
        f"{section}.{number}"
        for section, _, numbers in (word.partition(":") for word in LEVELS_1_AND_2.split())
        for number in numbers.split(",")
    }
    given = {number: level for row in rows() for number, level in row.numbers}
    assert sorted(wanted - given.keys()) == []
    assert (
        sorted(number for number, level in given.items() if level in {"1", "2"} and number not in wanted)
        == []
    )
    assert {level for number, level in given.items() if number in wanted} == {"1", "2"}


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m tests.asvs > docs/security/asvs.md"
