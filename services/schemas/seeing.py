"""Whether a text shows anything: names that nobody can see pass for no name, and for each other's."""

import re
import unicodedata

#: Characters that leave no mark on their own, as the inside of a pattern's brackets: what Unicode lets programs leave
#: out (Default_Ignorable_Code_Point: joiners, fillers, variation selectors …), the blank of Braille, and private use,
#: which looks like whatever a font makes of it. Those beyond U+FFFF stand apart: not every reader of a pattern can hold
#: them in brackets.
UNSEEN = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164"
    r"\ue000-\uf8ff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
)
_BEYOND = "\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a\U000e0000-\U0010ffff"
_SEEN = re.compile(rf"[^\s{UNSEEN}{_BEYOND}]")
_HIDDEN = re.compile(f"[{UNSEEN}{_BEYOND}]")


def shows_something(text: str) -> bool:
    """Whether at least one character can be seen by itself; marks can't, which wait for a letter to sit on.

    What Unicode has not assigned counts as seen: it shows as a box, and may be a letter by the next version.
    """
    return any(unicodedata.category(found[0])[0] != "M" for found in _SEEN.finditer(text))


def hides_something(text: str) -> bool:
    """Whether a character in it shows nothing, blanks aside: two texts that look the same may differ in it."""
    return _HIDDEN.search(text) is not None
