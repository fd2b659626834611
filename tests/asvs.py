"""docs/security/asvs.md, made from docs/security/asvs.txt:

python -m tests.asvs > docs/security/asvs.md
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "docs" / "security" / "asvs.txt"
PAGE = ROOT / "docs" / "security" / "asvs.md"
STATES = ("met", "deviation", "operator", "not applicable")
HEAD = "| requirement | level | | state | how | tests |\n|---|---|---|---|---|---|"
INTRODUCTION = """# OWASP ASVS 5.0, level 2

Requirement by requirement: whether it applies, how it is met, and the tests that show it. *Deviation* says what is done
instead and why; *operator* is a duty of whoever runs it. Made from [asvs.txt](asvs.txt); a test fails when a named test
does not exist.
"""


@dataclass(frozen=True)
class Row:
    """Some requirements that are met alike; `numbers` are (number, level)."""

    chapter: str
    numbers: tuple[tuple[str, str], ...]
    about: str
    state: str
    how: str
    evidence: tuple[str, ...]


def rows() -> Iterator[Row]:
    """What the data file says."""
    chapter = ""
    for line in DATA.read_text(encoding="utf-8").splitlines():
        if line.startswith("V"):
            chapter = line
        elif line and not line.startswith("#"):
            numbers, about, state, how, evidence = (part.strip() for part in line.split("|"))
            pairs = tuple(
                (number, level) for number, _, level in (word.partition("/") for word in numbers.split())
            )
            yield Row(chapter, pairs, about, state, how, tuple(evidence.split()))


def page() -> str:
    """The page."""
    lines, chapter = [INTRODUCTION], ""
    for row in rows():
        if row.chapter != chapter:
            chapter = row.chapter
            lines += [
                f"\n## {chapter}\n",
                "| requirement | level | | state | how | tests |",
                "|---|---|---|---|---|---|",
            ]
        tests = "<br>".join(f"`{name}`" for name in row.evidence)
        lines += [
            f"| {number} | {level} | {row.about} | {row.state} | {row.how} | {tests} |"
            for number, level in row.numbers
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
