"""People with an account."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Index,
    literal_column,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Model
from models.mixins import Identified, Timestamped

#: Where an account stands in a circle of so many places: ids in a row are spread over all of it as evenly as can be,
#: by the golden ratio (Knuth, The Art of Computer Programming 3, section 6.4).
PLACES = 2**31
PLACE: ColumnElement[int] = literal_column(
    "(((id & '2147483647'::bigint) * 1327217885) & '2147483647'::bigint)", BigInteger
)


class User(Identified, Timestamped, Model):
    """One account; its address is unique, and in the one spelling that `services/schemas/addresses.py` gives it."""

    __tablename__ = "users"

    email: Mapped[str]
    name: Mapped[str]
    role: Mapped[str] = mapped_column(ForeignKey("roles.name", onupdate="CASCADE"), server_default="member")
    password_hash: Mapped[str | None]
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    email_verified: Mapped[bool] = mapped_column(server_default=text("false"))
    suspended_at: Mapped[datetime | None]
    suspension_reason: Mapped[str | None]
    #: Then the worker, or the next sign-in, ends it.
    suspended_until: Mapped[datetime | None]
    #: The owner said "this was not me": nobody gets in, and nothing changes, until the password is reset by mail.
    frozen_at: Mapped[datetime | None]
    #: Kept right by `factor_service`, so that no request has to look.
    has_second_factor: Mapped[bool] = mapped_column(server_default=text("false"))
    last_login_at: Mapped[datetime | None]
    #: The random name of its files (`media_service`).
    picture: Mapped[str | None]
    #: Asked to be deleted: the worker does it then; until then it can be undone.
    deletes_at: Mapped[datetime | None]

    __table_args__ = (
        Index("uq_users_email", "email", unique=True),
        # What the release before looks addresses up by, while both run side by side.
        Index("ix_users_email_lower", text("lower(email)")),
        Index("ix_users_role", "role", "id"),
        Index("ix_users_created_at", "created_at", "id"),
        Index(
            "ix_users_last_login_at",
            text("coalesce(last_login_at, '1970-01-01 00:00:00+00'::timestamptz)"),
            "id",
        ),
        Index(
            "ix_users_suspended_until",
            "suspended_until",
            postgresql_where=text("suspended_until IS NOT NULL"),
        ),
        Index("ix_users_deletes_at", "deletes_at", postgresql_where=text("deletes_at IS NOT NULL")),
        Index("uq_users_picture", "picture", unique=True, postgresql_where=text("picture IS NOT NULL")),
        Index("ix_users_updated_at", "updated_at", "id"),
        Index("ix_users_place", PLACE, postgresql_where=text("password_hash IS NOT NULL")),
        Index("ix_users_name", text("lower(name)"), "id"),
        Index(
            "ix_users_search",
            literal_column("lower((name || ' '::text) || email)").label("search"),
            postgresql_using="gin",
            postgresql_ops={"search": "gin_trgm_ops"},
        ),
        CheckConstraint("is_active = (suspended_at IS NULL)", name="suspended_or_active"),
        CheckConstraint(
            "suspended_until IS NULL OR (suspended_at IS NOT NULL AND suspended_until > suspended_at)",
            name="suspended_until_later",
        ),
        CheckConstraint("email <> '' AND name <> ''", name="named"),
    )
