"""One-time codes of an authenticator app (RFC 6238): enrolled, confirmed, accepted once, switched off.

SHA-1, six digits, 30 seconds, a seed of 160 random bits, encrypted at rest. The present step and the one before it are
accepted; a step at or before the last accepted one never is, across workers, because the row is locked (ASVS 6.5.1).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

import pyotp
import segno
import structlog
from flask import current_app
from sqlalchemy import delete, func, select, update

from models import User, db
from models.base import now
from models.second_factor import TotpCredential
from services import crypto
from services.base_service import PURGE_BATCH
from services.errors import Conflict, InvalidCode

log = structlog.get_logger(__name__)

STEP_SECONDS = 30
SEED_CHARACTERS = 32  # base32: 160 bits


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an app needs: the seed as text, the URI, and the URI as a QR code.

    The QR code comes as inline SVG, and as what a page draws it of: modules a side, one path of the dark ones.
    """

    secret: str
    otpauth_uri: str
    qr_svg: str
    qr_size: int
    qr_path: str


def is_on(user_id: int) -> bool:
    """Whether the account asks for codes."""
    return (
        db.session.scalar(
            select(TotpCredential.confirmed_at.is_not(None)).where(TotpCredential.user_id == user_id)
        )
        or False
    )


def enrol(user: User) -> Enrolment:
    """A new seed; it counts only once a code of it was confirmed. An abandoned one is replaced. Raises Conflict."""
    credential = _locked(user.id)
    if credential is not None and credential.confirmed_at is not None:
        raise Conflict("Codes are on already. Switch them off first.")
    seed = pyotp.random_base32(SEED_CHARACTERS)
    if credential is None:
        credential = TotpCredential(user_id=user.id)
        db.session.add(credential)
    credential.seed_encrypted, credential.last_step = crypto.encrypt(seed.encode()), None
    return _shown(seed, user.email)


def pending(user_id: int, email: str) -> Enrolment | None:
    """The enrolment that waits for its first code, to be shown again."""
    credential = db.session.get(TotpCredential, user_id)
    if credential is None or credential.confirmed_at is not None:
        return None
    return _shown(crypto.decrypt(credential.seed_encrypted).decode(), email)


def confirm(user: User, code: str) -> None:
    """Switch codes on with the first right one. Raises Conflict (nothing to confirm) or InvalidCode."""
    credential = _locked(user.id)
    if credential is None or credential.confirmed_at is not None:
        raise Conflict("There is nothing to confirm. Start again.")
    _accept(credential, code)
    credential.confirmed_at = now()


def check(user_id: int, code: str) -> bool:
    """Whether this code is right and was not used before; it is used up then."""
    credential = _locked(user_id)
    if credential is None or credential.confirmed_at is None:
        return False
    try:
        _accept(credential, code)
    except InvalidCode:
        return False
    return True


def switch_off(user_id: int) -> bool:
    """Forget the seed; tells whether there was one."""
    credential = _locked(user_id)
    if credential is None:
        return False
    was_on = credential.confirmed_at is not None
    db.session.delete(credential)
    return was_on


def renew() -> int:
    """Bring seeds under the newest FIELD_ENCRYPTION_KEY, so that the former can go; how many: 5,000 a call at most."""
    if not crypto.has_former_keys():
        return 0
    rows = db.session.execute(select(TotpCredential.user_id, TotpCredential.seed_encrypted)).all()
    old = [row for row in rows if not crypto.is_newest(row.seed_encrypted)][:PURGE_BATCH]
    return sum(_renew(row.user_id, row.seed_encrypted) for row in old)


def _renew(user_id: int, encrypted: bytes) -> int:
    try:
        seed = crypto.renewed(encrypted)
    except crypto.Undecipherable:
        log.error("seed_under_a_lost_key", user_id=user_id)
        return 0
    unchanged = (TotpCredential.user_id == user_id) & (TotpCredential.seed_encrypted == encrypted)
    statement = update(TotpCredential).where(unchanged).values(seed_encrypted=seed)
    return len(db.session.scalars(statement.returning(TotpCredential.user_id)).all())


def forget_since(user_id: int, moment: datetime) -> int:
    """Forget a seed that was made or confirmed from `moment` on; returns how many were good for something."""
    added_at = func.coalesce(TotpCredential.confirmed_at, TotpCredential.created_at)
    statement = delete(TotpCredential).where(TotpCredential.user_id == user_id, added_at >= moment)
    ended = db.session.scalars(statement.returning(TotpCredential.confirmed_at)).all()
    return sum(confirmed_at is not None for confirmed_at in ended)


def _locked(user_id: int) -> TotpCredential | None:
    return db.session.scalar(
        select(TotpCredential).where(TotpCredential.user_id == user_id).with_for_update()
    )


def _accept(credential: TotpCredential, code: str) -> None:
    """Note the step of a right code as used. Raises InvalidCode."""
    digits = "".join(filter(str.isdigit, code))
    totp = pyotp.TOTP(crypto.decrypt(credential.seed_encrypted).decode())
    present = int(now().timestamp()) // STEP_SECONDS
    skew = current_app.config["TOTP_SKEW"]
    for step in range(present, present - skew - 1, -1):
        is_new = credential.last_step is None or step > credential.last_step
        if is_new and pyotp.utils.strings_equal(digits, totp.at(step * STEP_SECONDS)):
            credential.last_step = step
            return
    raise InvalidCode


def _shown(seed: str, email: str) -> Enrolment:
    uri = pyotp.TOTP(seed).provisioning_uri(name=email, issuer_name=current_app.config["APP_NAME"])
    qr = segno.make(uri, error="m", micro=False)
    return Enrolment(
        secret=seed,
        otpauth_uri=uri,
        qr_svg=qr.svg_inline(border=0, omitsize=True, svgclass="qr__code", lineclass=None),
        qr_size=len(qr.matrix),
        qr_path="".join(_dark_runs(qr.matrix)),
    )


def _dark_runs(matrix: Iterable[Iterable[int]]) -> Iterator[str]:
    """Each run of dark modules of a row as a rectangle of an SVG path."""
    for y, row in enumerate(matrix):
        for is_dark, run in groupby(enumerate(row), key=lambda module: module[1]):
            places = [x for x, _ in run]
            if is_dark:
                yield f"M{places[0]} {y}h{len(places)}v1h-{len(places)}z"
