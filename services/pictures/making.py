"""Pictures made of uploads: the file is stripped here, and decoded in a process of its own that has hard limits.

Measured (two cores of 2.9 GHz, Python 3.11): 70 ms of CPU for a small picture, nearly all of it Python and Pillow being
loaded; at most 1.2 s and 450 MB for 25 million pixels. A process of its own is what the system can bind and end: a
thread in C code can't be stopped, and shares its memory with every request.
"""

import os
import signal
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path

import PIL
import structlog

from services.errors import Invalid, PayloadTooLarge, Unavailable
from services.media_stores import SIZES
from services.pictures import Bare, jpeg, not_a_picture, png, too_complex, webp

log = structlog.get_logger(__name__)

MOST_BYTES = 5 * 1024 * 1024
#: Decoded at once by this process; who waits longer than this is told to come back (ASVS 15.2.2).
AT_ONCE = threading.BoundedSemaphore(1)
WAIT_SECONDS = 3
#: Also when the machine is so busy that little CPU time passes.
LONGEST_SECONDS = 10
#: A grey pixel, to find out whether pictures can be made.
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b5500"
    "00000a49444154789c636800000082008177cd72b60000000049454e44ae426082"
)
UNAVAILABLE = "Pictures can't be opened right now. Nothing was changed."


def remade(data: bytes) -> dict[int, bytes]:
    """The picture in each of our sizes. Raises Invalid (no PNG, JPEG or WebP, damaged, too much work), PayloadTooLarge
    or Unavailable.

    Takes up to 13 seconds: hold no connection meanwhile.
    """
    if len(data) > MOST_BYTES:
        raise PayloadTooLarge("A picture may have 5 MB.")
    bare = _bare(data)
    if not AT_ONCE.acquire(timeout=WAIT_SECONDS):
        raise Unavailable(UNAVAILABLE)
    try:
        return _split(_decoded(bare))
    finally:
        AT_ONCE.release()


def try_out() -> None:
    """Make a picture. Raises Unavailable."""
    try:
        remade(PIXEL)
    except Invalid as error:
        raise _trouble(f"a good picture is refused: {error.details['error']}") from None


def _bare(data: bytes) -> Bare:
    if data.startswith(jpeg.START):
        return jpeg.bare(data)
    if data.startswith(png.SIGNATURE):
        return png.bare(data)
    if webp.is_one(data):
        return webp.bare(data)
    raise not_a_picture()


def _decoded(bare: Bare) -> bytes:
    sizes = ",".join(str(size) for size in SIZES)
    try:
        ended = subprocess.run(
            [*_program(), bare.kind, str(bare.orientation), sizes],
            input=bare.data,
            capture_output=True,
            # Nothing of ours: no secret, and no connection, goes along.
            env={"PYTHONPATH": str(Path(PIL.__file__).parent.parent)},
            cwd="/",
            timeout=LONGEST_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _trouble(type(error).__name__) from None
    if ended.returncode:
        raise _refusal(ended)
    return ended.stdout


def _refusal(ended: subprocess.CompletedProcess[bytes]) -> Invalid | Unavailable:
    if ended.returncode in {os.EX_UNAVAILABLE, -signal.SIGXCPU}:
        return too_complex()
    if ended.returncode == os.EX_DATAERR:
        return not_a_picture()
    if ended.returncode in {-signal.SIGKILL, -signal.SIGTERM} or ended.returncode > 0:
        # Ended by somebody else, for lack of memory say; or it could not even begin.
        return _trouble(f"ended with {ended.returncode}: {ended.stderr[-300:].decode(errors='replace')}")
    log.warning("picture_broke_its_decoder", signal=-ended.returncode)
    return not_a_picture()


def _trouble(reason: str) -> Unavailable:
    log.error("picture_decoder_trouble", reason=reason)
    return Unavailable(UNAVAILABLE)


def _split(made: bytes) -> dict[int, bytes]:
    """Size → picture, as the decoder writes them one after the other."""
    pictures, at = {}, 0
    for size in SIZES:
        start = at + 4
        at = start + int.from_bytes(made[at:start], "big")
        pictures[size] = made[start:at]
    return pictures


@cache
def _program() -> tuple[str, ...]:
    """The decoder's command. Its path has neither site packages (-S), nor the working folder (-P), nor the user's (-s).

    It is not imported here: no process that answers requests loads Pillow.
    """
    return _python(), "-S", "-P", "-s", str(Path(__file__).resolve().with_name("decoder.py"))


def _python() -> str:
    """The interpreter; within uWSGI the running program is another one."""
    if Path(sys.executable).name.startswith("python"):
        return sys.executable
    return str(Path(sys.prefix, "bin", "python3"))
