"""Wrong passwords in a row."""

from datetime import datetime

from sqlalchemy import Index, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Model


class PasswordTry(Model):
    """Failures in a row at one account, by one of its known devices or by all unknown ones together.

    `account` is a keyed digest of the address, whether or not somebody has it; `device` is the digest of a known
    device's cookie, and empty for the unknown ones. UNLOGGED: a crash of the server forgives a few tries.
    """

    __tablename__ = "password_tries"

    account: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    device: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    failures: Mapped[int]
    #: Until then nobody of `device` may try. None while tries are free.
    waits_until: Mapped[datetime | None]
    last_failed_at: Mapped[datetime]

    __table_args__ = (Index("ix_password_tries_last_failed_at", "last_failed_at"), {"prefixes": ["UNLOGGED"]})
