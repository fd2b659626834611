"""Profile pictures: told by content, cut square, made again without metadata, kept under a random name.

Opening an upload and keeping files take seconds when things go wrong, so both happen between units of work: no
connection and no lock is held meanwhile (ADR-016).
"""

from collections.abc import Callable

from sqlalchemy import bindparam, select

from models import User
from models.reading import Prepared
from services import audit_service, media_service, picture_removal_service, throttle_service, user_service
from services.base_service import fetch_first, reading, unit_of_work
from services.errors import NotFound, Unavailable
from services.pictures import making
from services.principal import Principal

MOST_BYTES = making.MOST_BYTES
#: Nobody's files are kept this long: an upload in progress is nobody's yet.
ORPHANED_AFTER = picture_removal_service.PROMISE

_OWNED = Prepared(select(User.id).where(User.picture == bindparam("picture")))


def read(file: str) -> bytes:
    """A picture's file, for everybody who knows its name. Opens its own unit of work.

    The database is asked first, so that no made-up name reaches the store. Raises NotFound, RateLimited (too many
    names that nobody has) or Unavailable.
    """
    name = media_service.name_of(file)
    with reading():
        owner = fetch_first(_OWNED, {"picture": name})
    if owner is None:
        throttle_service.spend(throttle_service.PICTURE_MISS_BY_ADDRESS, throttle_service.address())
        raise NotFound
    return media_service.read(file)


def replace(sent: Callable[[], bytes], *, by: Principal) -> str:
    """Make what was sent one's picture; returns its name. Opens its own units of work.

    `sent` gives the file: it is read once the account may upload, and while nothing is held, as senders may be slow.

    Raises Invalid (no PNG, JPEG or WebP, damaged, too much work), PayloadTooLarge, RateLimited, AccountFrozen or
    Unavailable. Of two at once the later stays. The worker removes the former, and whatever is left of an upload that
    ended half-way.
    """
    with unit_of_work():  # also gives back the connection that found out who calls
        throttle_service.spend(throttle_service.PICTURE, str(by.user_id))
    files = making.remade(sent())
    name = media_service.new_name()
    with unit_of_work():
        picture_removal_service.promise(name)
    media_service.save(name, files)
    with unit_of_work():
        user = user_service.load_own(by)
        picture_removal_service.call_off(name)
        former, user.picture = user.picture, name
        if former is not None:
            picture_removal_service.ask(former)
        audit_service.record("account:picture:change", actor_id=user.id)
    return name


def remove(*, by: Principal) -> None:
    """Have no picture. Does nothing when there is none. The worker removes the files."""
    user = user_service.load(by.user_id)
    if forget(user):
        audit_service.record("account:picture:remove", actor_id=user.id)


def forget(user: User) -> bool:
    """Take an account's picture away without a word; tells whether there was one. The worker removes the files."""
    if user.picture is None:
        return False
    former, user.picture = user.picture, None
    picture_removal_service.ask(former)
    return True


def purge() -> int:
    """Ask for the removal of files that are nobody's; returns how many pictures. None while the store is away.

    There are none but for a database that was restored from a backup.
    """
    try:
        there = media_service.names_older_than(ORPHANED_AFTER)
    except Unavailable:  # the log has it; what else there is to purge does not wait
        return 0
    return picture_removal_service.ask_for_nobodys(there)


def try_out() -> None:
    """Open a picture, keep its file, find it, read it and forget it. Raises Unavailable."""
    making.try_out()
    media_service.try_out()
