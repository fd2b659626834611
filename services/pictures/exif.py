"""How the camera was held: the one thing that is read of EXIF, and nothing else of it is looked at."""

import struct

UPRIGHT = 1
ORIENTATION = 0x0112
SHORT = 3
HEADER = b"Exif\0\0"


def orientation(exif: bytes) -> int:
    """The orientation that the first directory tells, 1 to 8; 1 when there is none or it can't be read.

    TIFF 6.0 section 2, CIPA DC-008 (EXIF) section 4.6.4.
    """
    tiff = exif.removeprefix(HEADER)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return UPRIGHT
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for at in range(start + 2, start + 2 + 12 * count, 12):  # 65,535 entries at most
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, at)
            if tag == ORIENTATION:
                return value if kind == SHORT and 1 <= value <= 8 else UPRIGHT
    except struct.error:
        return UPRIGHT
    return UPRIGHT
