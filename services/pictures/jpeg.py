"""JPEG, stripped to tables, frame and scans (ITU-T T.81 annex B), so that what is dropped is never decoded.

Each scan of a progressive picture passes over all of its pixels: a few bytes more, much more work. So they are counted.
"""

import re

from services.pictures import Bare, check_pixels, exif, not_a_picture, too_complex, unusual

START = b"\xff\xd8"
END = b"\xff\xd9"
#: A marker as decoders find it: not a stuffed zero, a fill byte or a restart.
MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
START_OF_IMAGE, END_OF_IMAGE, START_OF_SCAN, TEMPORARY = 0xD8, 0xD9, 0xDA, 0x01
#: Baseline, extended sequential, progressive: with Huffman codes. Browsers show no others.
FRAMES = {0xC0, 0xC1, 0xC2}
#: Lossless, hierarchical and arithmetic frames, arithmetic tables, a height that is told later.
UNUSUAL = {0xC3, *range(0xC5, 0xD0), 0xDC}
#: Huffman tables, quantisation tables, restart interval.
TABLES = {0xC4, 0xDB, 0xDD}
JFIF, EXIF, ADOBE = 0xE0, 0xE1, 0xEE
#: Programs write ten, those that look for the smallest file some twenty.
MOST_SCANS = 32
MOST_SEGMENTS = 1000


class _Reader:
    """One pass over the file."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = len(START)
        self.kept = [START]
        self.seen: set[int] = set()
        self.scans = 0
        self.orientation = exif.UPRIGHT

    def read(self) -> Bare:
        for _ in range(MOST_SEGMENTS):
            marker = self._next()
            if marker == END_OF_IMAGE:
                if not self.scans:
                    raise not_a_picture()
                return Bare("JPEG", b"".join((*self.kept, END)), self.orientation)
            if marker != TEMPORARY:
                self._take(marker, self._segment())
        raise too_complex()

    def _next(self) -> int:
        found = MARKER.search(self.data, self.at)
        if found is None:
            raise not_a_picture()
        self.at = found.start()
        marker = found[1][0]
        if marker in UNUSUAL:
            raise unusual()
        if marker == TEMPORARY:
            self.at += 2
        return marker

    def _segment(self) -> bytes:
        """The segment here, marker and length included; the place moves behind it."""
        start, length = self.at, int.from_bytes(self.data[self.at + 2 : self.at + 4], "big")
        self.at = start + 2 + length
        if length < 2 or self.at > len(self.data):
            raise not_a_picture()
        return self.data[start : self.at]

    def _take(self, marker: int, segment: bytes) -> None:
        if marker == START_OF_IMAGE:
            raise not_a_picture()
        if marker in FRAMES:
            self._frame(segment)
        elif marker == START_OF_SCAN:
            self._scan(segment)
        elif marker in TABLES or _tells_colours(marker, segment):
            self.kept.append(segment)
        elif marker == EXIF and segment[4:].startswith(exif.HEADER):
            self.orientation = exif.orientation(segment[4:])

    def _frame(self, segment: bytes) -> None:
        if self.seen & FRAMES or len(segment) < 10:
            raise not_a_picture()
        self.seen.add(segment[1])
        precision, components = segment[4], segment[9]
        if precision != 8 or components not in {1, 3, 4}:
            raise unusual()
        check_pixels(int.from_bytes(segment[7:9], "big"), int.from_bytes(segment[5:7], "big"))
        self.kept.append(segment)

    def _scan(self, segment: bytes) -> None:
        self.scans += 1
        if not self.seen & FRAMES:
            raise not_a_picture()
        if self.scans > MOST_SCANS:
            raise too_complex()
        found = MARKER.search(self.data, self.at)
        if found is None:
            raise not_a_picture()
        self.kept += (segment, self.data[self.at : found.start()])
        self.at = found.start()


def bare(data: bytes) -> Bare:
    """The picture that begins the file; what follows it is left out. Raises Invalid."""
    return _Reader(data).read()


def _tells_colours(marker: int, segment: bytes) -> bool:
    """Whether the numbers are YCbCr, RGB, CMYK or YCCK: decoders learn it from these two."""
    return (marker == JFIF and segment[4:].startswith(b"JFIF\0")) or (
        marker == ADOBE and segment[4:].startswith(b"Adobe")
    )
