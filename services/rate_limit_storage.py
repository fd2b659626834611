"""A PostgreSQL storage for the `limits` library: fixed windows in one UNLOGGED table, one upsert a hit."""

from datetime import timedelta
from typing import Any

from limits.storage import Storage
from sqlalchemy import Engine, case, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError

from models import RateLimit
from models.base import now


class PostgresStorage(Storage):
    """Counts across workers and machines. Its connections are its own: a refused request still counts."""

    STORAGE_SCHEME = ["portico+postgresql"]  # noqa: RUF012 - the library registers schemes by this list

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self.engine = engine

    @property
    def base_exceptions(self) -> type[Exception]:
        return SQLAlchemyError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        moment = now()
        fresh = {"hits": max(amount, 0), "expires_at": moment + timedelta(seconds=expiry)}
        stale = RateLimit.expires_at <= moment
        statement = (
            insert(RateLimit)
            .values(key=key, **fresh)
            .on_conflict_do_update(
                index_elements=[RateLimit.key],
                set_={
                    "hits": case((stale, fresh["hits"]), else_=RateLimit.hits + amount),
                    "expires_at": case((stale, fresh["expires_at"]), else_=RateLimit.expires_at),
                },
            )
            .returning(RateLimit.hits)
        )
        with self.engine.connect() as connection:
            return connection.execute(statement).scalar_one()

    def get(self, key: str) -> int:
        statement = select(RateLimit.hits).where(RateLimit.key == key, RateLimit.expires_at > now())
        with self.engine.connect() as connection:
            return connection.execute(statement).scalar() or 0

    def get_expiry(self, key: str) -> float:
        statement = select(RateLimit.expires_at).where(RateLimit.key == key)
        with self.engine.connect() as connection:
            expires_at = connection.execute(statement).scalar()
        return (expires_at or now()).timestamp()

    def check(self) -> bool:
        return True

    def reset(self) -> int | None:
        with self.engine.connect() as connection:
            return connection.execute(delete(RateLimit)).rowcount

    def clear(self, key: str) -> None:
        with self.engine.connect() as connection:
            connection.execute(delete(RateLimit).where(RateLimit.key == key))


def purge(engine: Engine) -> int:
    """Delete counters whose window is over; returns how many."""
    with engine.connect() as connection:
        result: Any = connection.execute(delete(RateLimit).where(RateLimit.expires_at <= now()))
    return int(result.rowcount)
