"""A program that decodes one picture and knows nothing of the product: file in, pictures out, within hard limits.

`python decoder.py KIND ORIENTATION SIZE,SIZE <file >pictures`: square WebPs, each after its length in four bytes.
Ends with EX_DATAERR when the file does not open, EX_UNAVAILABLE when it takes more than MEMORY_BYTES.
"""

import io
import os
import resource
import sys
from contextlib import nullcontext, suppress
from pathlib import Path

from PIL import ImageOps
from PIL.Image import Image, Transpose
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

#: The system ends it when it takes more (SIGXCPU).
CPU_SECONDS = 5
#: 25 million pixels of a WebP take 450 MB. macOS does not keep to this limit.
MEMORY_BYTES = 512 * 1024 * 1024
#: What is limited → from where on the system says so, and from where on it kills.
LIMITS = {
    resource.RLIMIT_CPU: (CPU_SECONDS, CPU_SECONDS + 1),
    resource.RLIMIT_AS: (MEMORY_BYTES, MEMORY_BYTES),
    resource.RLIMIT_FSIZE: (0, 0),
    resource.RLIMIT_CORE: (0, 0),
}
KINDS: dict[str, type[ImageFile]] = {"JPEG": JpegImageFile, "PNG": PngImageFile, "WEBP": WebPImageFile}
#: EXIF's orientation → what turns the picture upright.
TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
#: What can be made smaller as it is; the rest is brought to one of these first.
SCALABLE = {"L", "LA", "RGB", "RGBA"}


def main(kind: str, orientation: str, sizes: str) -> int:
    """Decode what comes in; the program's exit code."""
    _limit()
    try:
        made = remade(
            sys.stdin.buffer.read(), kind, int(orientation), [int(size) for size in sizes.split(",")]
        )
    except MemoryError:
        return os.EX_UNAVAILABLE
    except Exception:  # noqa: BLE001 - decoders raise whatever a damaged file makes them stumble over
        return os.EX_DATAERR
    for content in made:
        sys.stdout.buffer.write(len(content).to_bytes(4, "big") + content)
    return os.EX_OK


def remade(data: bytes, kind: str, orientation: int, sizes: list[int]) -> list[bytes]:
    """The picture as square WebPs of these sizes, the largest first. Raises whatever decoders raise."""
    largest = sizes[0]
    with KINDS[kind](io.BytesIO(data)) as image:
        image.draft("RGB", (2 * largest, 2 * largest))  # a JPEG is unpacked small at once
        square = ImageOps.fit(_scalable(image), (largest, largest))
    # What is turned is small by now; a square cut from the middle stays one.
    turn = TURNS.get(orientation)
    upright = square.transpose(turn) if turn is not None else square
    plain = upright.convert("RGBA" if "A" in upright.getbands() else "RGB")
    plain.info.clear()
    return [_webp(plain, size) for size in sizes]


def _scalable(image: Image) -> Image:
    is_transparent = "A" in image.getbands() or "transparency" in image.info
    if image.mode in SCALABLE and "transparency" not in image.info:
        return image
    return image.convert("RGBA" if is_transparent else "RGB")


def _webp(square: Image, size: int) -> bytes:
    out = io.BytesIO()
    square.resize((size, size)).save(out, "WEBP", quality=82, method=4)
    return out.getvalue()


def _limit() -> None:
    """Bind this process, and have it be the first to go where memory is short."""
    for what, (soft, hard) in LIMITS.items():
        # Without its limits it must not begin; only where memory can't be limited it goes on with the others.
        with suppress(OSError, ValueError) if sys.platform == "darwin" else nullcontext():
            resource.setrlimit(what, (_allowed(what, soft), _allowed(what, hard)))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _allowed(what: int, wanted: int) -> int:
    """As much as wanted, or what there is where that is less."""
    _, most = resource.getrlimit(what)
    return wanted if most == resource.RLIM_INFINITY else min(wanted, most)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
