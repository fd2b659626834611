"""From an uploaded file to our own pictures: looked over, stripped, decoded in a process of its own (ADR-016)."""

from dataclasses import dataclass

from services.errors import Invalid

#: What a picture unpacks to: 25 million pixels are 100 MB in memory.
MOST_PIXELS = 25_000_000


@dataclass(frozen=True, slots=True)
class Bare:
    """What a file has to do with pixels, as a file of the same format: no metadata, no profile, no second picture."""

    #: JPEG, PNG or WEBP.
    kind: str
    data: bytes
    #: How the camera was held: 1 to 8, as EXIF has it; 1 is upright.
    orientation: int


def not_a_picture() -> Invalid:
    """The refusal of what is none of the formats, or is damaged."""
    return Invalid.field(
        "picture", "Choose a PNG, JPEG or WebP: this file does not open as one", "not_a_picture"
    )


def too_complex() -> Invalid:
    """The refusal of what is made of more parts, or costs more to open, than pictures of cameras and programs do."""
    return Invalid.field(
        "picture", "This picture is made in a way that costs too much to open; save it again", "too_complex"
    )


def unusual() -> Invalid:
    """The refusal of kinds of JPEG that browsers do not show either."""
    return Invalid.field(
        "picture", "This kind of JPEG is not supported; save it as an ordinary one", "unusual"
    )


def check_pixels(width: int, height: int) -> None:
    """Raise Invalid when there are too many pixels, or none."""
    if width < 1 or height < 1:
        raise not_a_picture()
    if width * height > MOST_PIXELS:
        raise Invalid.field("picture", "Use a picture of at most 25 million pixels", "too_many_pixels")
