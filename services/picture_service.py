"""Profile pictures: looked at by content, cut square, made anew without metadata, kept under a random name."""

import io
import threading
from datetime import timedelta

from PIL import Image, ImageOps
from sqlalchemy import select

from models import User, db
from services import audit_service, media_service, user_service
from services.base_service import after_commit, flush
from services.errors import Invalid, PayloadTooLarge, Unavailable
from services.media_stores import SIZES
from services.principal import Principal

FORMATS = ("PNG", "JPEG", "WEBP")
MOST_BYTES = 5 * 1024 * 1024
#: What a picture unpacks to: 25 million pixels are 100 MB in memory.
MOST_PIXELS = 25_000_000
#: Unpacked at once in this process; who waits longer than this is told to come back (ASVS 15.2.2).
AT_ONCE = threading.BoundedSemaphore(2)
WAIT_SECONDS = 5
#: Nobody's files are kept this long: an upload in progress is nobody's yet.
ORPHANED_AFTER = timedelta(hours=1)

# The limit below counts, before anything is unpacked; Pillow's own only warns.
Image.MAX_IMAGE_PIXELS = None


def replace(data: bytes, *, by: Principal) -> User:
    """Make `data` one's picture. Raises Invalid (no PNG, JPEG or WebP, or damaged), PayloadTooLarge or Unavailable.

    Of two at once the later stays. The former picture is removed once the new one is committed.
    """
    name = media_service.save(_remade(data))
    try:
        user = user_service.load(by.user_id)
        former, user.picture = user.picture, name
        audit_service.record("account:picture:change", actor_id=user.id)
        flush()
    except BaseException:
        media_service.discard(name)
        raise
    if former is not None:
        after_commit(lambda: media_service.discard(former))
    return user


def remove(*, by: Principal) -> None:
    """Have no picture. Does nothing when there is none."""
    user = user_service.load(by.user_id)
    if forget(user):
        audit_service.record("account:picture:remove", actor_id=user.id)


def forget(user: User) -> bool:
    """Take an account's picture away without a word; tells whether there was one. Its files go after the commit."""
    if user.picture is None:
        return False
    former, user.picture = user.picture, None
    after_commit(lambda: media_service.discard(former))
    return True


def purge() -> int:
    """Remove files that are nobody's: their upload, or their removal, ended half-way. Returns how many pictures."""
    there = media_service.names_older_than(ORPHANED_AFTER)
    if not there:
        return 0
    orphans = there - set(db.session.scalars(select(User.picture).where(User.picture.in_(there))))
    for name in orphans:
        media_service.remove(name)
    return len(orphans)


def _remade(data: bytes) -> dict[int, bytes]:
    if len(data) > MOST_BYTES:
        raise PayloadTooLarge("A picture may have 5 MB.")
    if not AT_ONCE.acquire(timeout=WAIT_SECONDS):
        raise Unavailable
    try:
        square = _square(data)
        return {size: _webp(square, size) for size in SIZES}
    except (Invalid, MemoryError):
        raise
    except Exception:  # noqa: BLE001 - decoders raise whatever a damaged file makes them stumble over
        raise _not_a_picture() from None
    finally:
        AT_ONCE.release()


def _square(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        if image.width * image.height > MOST_PIXELS:
            raise Invalid.field("picture", "Use a picture of at most 25 million pixels", "too_many_pixels")
        image.draft("RGB", (2 * SIZES[0], 2 * SIZES[0]))  # a JPEG is unpacked small at once
        turned = ImageOps.exif_transpose(image)
        has_alpha = "A" in turned.getbands() or "transparency" in turned.info
        square = ImageOps.fit(turned.convert("RGBA" if has_alpha else "RGB"), (SIZES[0], SIZES[0]))
        # Only the pixels go on: no place, no camera, no colour profile, no text (ASVS 14.2.8).
        return Image.frombytes(square.mode, square.size, square.tobytes())


def _webp(square: Image.Image, size: int) -> bytes:
    out = io.BytesIO()
    square.resize((size, size)).save(out, "WEBP", quality=82, method=4)
    return out.getvalue()


def _not_a_picture() -> Invalid:
    return Invalid.field("picture", "Choose a picture in PNG, JPEG or WebP that opens", "not_a_picture")
