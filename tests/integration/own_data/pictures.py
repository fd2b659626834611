"""Pictures for tests, and a bucket that is really there."""

import io
from typing import Any

from PIL import Image

WIDE = (640, 360)


def picture(
    kind: str = "PNG", size: tuple[int, int] = WIDE, colour: Any = (200, 30, 30), **more: Any
) -> bytes:
    """A plain picture."""
    out = io.BytesIO()
    Image.new(more.pop("mode", "RGB"), size, colour).save(out, kind, **more)
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    """The picture in a file, unpacked."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image
