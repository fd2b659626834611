"""PNG, stripped to header, palette, transparency and pixels (W3C PNG, third edition, section 5).

Texts and profiles, which may unpack to gigabytes, and the frames of animations are left out; all pixels are one chunk.
"""

import zlib
from collections.abc import Iterator

from services.pictures import Bare, check_pixels, exif, not_a_picture, too_complex

SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: 5 MB in pieces of 512 bytes.
MOST_CHUNKS = 10_000
KEPT = (b"PLTE", b"tRNS")
CRITICAL = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
HEADER_BYTES = 13


def bare(data: bytes) -> Bare:
    """The picture, also of an animation. Raises Invalid."""
    kept: dict[bytes, bytes] = {}
    pixels: list[memoryview] = []
    orientation = exif.UPRIGHT
    for kind, body in _chunks(data):
        if kind == b"IHDR":
            _check(body)
            kept[kind] = bytes(body)
        elif kind == b"IDAT":
            pixels.append(body)
        elif kind in KEPT:
            kept[kind] = bytes(body)
        elif kind == b"eXIf":
            orientation = exif.orientation(bytes(body))
    if b"IHDR" not in kept or not pixels:
        raise not_a_picture()
    kept[b"IDAT"] = b"".join(pixels)
    order = (b"IHDR", *KEPT, b"IDAT")
    made = [_chunk(kind, kept[kind]) for kind in order if kind in kept]
    return Bare("PNG", b"".join((SIGNATURE, *made, _chunk(b"IEND", b""))), orientation)


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Each chunk up to the end, its sum checked where it is kept."""
    view, at = memoryview(data), len(SIGNATURE)
    for _ in range(MOST_CHUNKS):
        length, kind = int.from_bytes(view[at : at + 4], "big"), bytes(view[at + 4 : at + 8])
        end = at + 12 + length
        if end > len(data):
            raise not_a_picture()
        if kind[:1].isupper() and kind not in CRITICAL:
            raise not_a_picture()  # says itself that the picture can't be shown without knowing it
        if kind in (*CRITICAL, *KEPT) and zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(
            view[end - 4 : end], "big"
        ):
            raise not_a_picture()
        if kind == b"IEND":
            return
        yield kind, view[at + 8 : end - 4]
        at = end
    raise too_complex()


def _check(header: memoryview) -> None:
    if len(header) != HEADER_BYTES:
        raise not_a_picture()
    check_pixels(int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big"))


def _chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
