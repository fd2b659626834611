"""The box that a start ends with."""

import shutil
import sys
from collections.abc import Sequence

LINES = ("┌", "─", "┐", "│", "└", "┘")
PLAIN = ("+", "-", "+", "|", "+", "+")
WIDE_ENOUGH = 200


def box(title: str, rows: Sequence[tuple[str, str]], foot: str) -> str:
    """A title, labelled lines and a last line in a frame; without sides where the terminal is too narrow for them.

    A link that the terminal breaks stays whole for the mouse only if nothing stands beside it.
    """
    label = max(len(name) for name, _ in rows)
    lines = [title, "", *(f"{name:<{label}}  {text}".rstrip() for name, text in rows), "", foot]
    width = max(len(line) for line in lines)
    left_top, bar, right_top, side, left_bottom, right_bottom = _letters()
    columns = shutil.get_terminal_size(fallback=(WIDE_ENOUGH, 24)).columns
    if width + 4 > columns:
        rule = bar * (columns - 1)
        return "\n".join([rule, *lines, rule])
    return "\n".join(
        [
            f"{left_top}{bar * (width + 2)}{right_top}",
            *(f"{side} {line:<{width}} {side}" for line in lines),
            f"{left_bottom}{bar * (width + 2)}{right_bottom}",
        ]
    )


def _letters() -> tuple[str, ...]:
    try:
        "".join(LINES).encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return PLAIN
    return LINES
