"""WebP, stripped to one picture with its transparency (RFC 9649 section 2); of an animation the first frame."""

import struct
from collections.abc import Iterator

from services.pictures import Bare, check_pixels, exif, not_a_picture, too_complex

MOST_CHUNKS = 1000
#: Before the picture of a frame: place, size, duration, flags.
FRAME_HEADER_BYTES = 16
LOSSY_START = b"\x9d\x01\x2a"
LOSSLESS_START = 0x2F
HAS_ALPHA = 0x10


def is_one(data: bytes) -> bool:
    """Whether it begins as one."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def bare(data: bytes) -> Bare:
    """The picture, or the first of an animation. Raises Invalid."""
    end = min(len(data), 8 + int.from_bytes(data[4:8], "little"))
    found = _first_of_each(data[12:end])
    if b"ANMF" in found:
        found = {**_first_of_each(found[b"ANMF"][FRAME_HEADER_BYTES:]), b"EXIF": found.get(b"EXIF", b"")}
    return Bare("WEBP", _file(*_picture(found)), exif.orientation(found.get(b"EXIF", b"")))


def _picture(found: dict[bytes, bytes]) -> tuple[bytes, ...]:
    """The chunks of a file that holds nothing else."""
    if b"VP8L" in found:
        check_pixels(*_lossless_size(found[b"VP8L"]))
        return (_chunk(b"VP8L", found[b"VP8L"]),)
    if b"VP8 " not in found:
        raise not_a_picture()
    width, height = _lossy_size(found[b"VP8 "])
    check_pixels(width, height)
    picture = _chunk(b"VP8 ", found[b"VP8 "])
    if b"ALPH" not in found:
        return (picture,)
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    extended = _chunk(b"VP8X", struct.pack("<I", HAS_ALPHA) + size)
    return extended, _chunk(b"ALPH", found[b"ALPH"]), picture


def _first_of_each(data: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for kind, body in _chunks(data):
        found.setdefault(kind, body)
    return found


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    for _ in range(MOST_CHUNKS):
        if at + 8 > len(data):
            return
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + length > len(data):
            raise not_a_picture()
        yield data[at : at + 4], data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
    raise too_complex()


def _lossy_size(frame: bytes) -> tuple[int, int]:
    """Width and height of a VP8 key frame (RFC 6386 section 9.1)."""
    if len(frame) < 10 or frame[0] & 1 or frame[3:6] != LOSSY_START:
        raise not_a_picture()
    width, height = struct.unpack_from("<HH", frame, 6)
    return width & 0x3FFF, height & 0x3FFF


def _lossless_size(frame: bytes) -> tuple[int, int]:
    """Width and height of a VP8L picture (RFC 9649 section 3.4)."""
    if len(frame) < 5 or frame[0] != LOSSLESS_START:
        raise not_a_picture()
    bits = int.from_bytes(frame[1:5], "little")
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


def _file(*chunks: bytes) -> bytes:
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def _chunk(kind: bytes, body: bytes) -> bytes:
    return kind + len(body).to_bytes(4, "little") + body + b"\0" * (len(body) % 2)
