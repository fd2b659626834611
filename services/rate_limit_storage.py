"""Storages for the `limits` library: fixed windows in PostgreSQL, one upsert a hit, or in Redis."""

import re
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import structlog
from limits.errors import StorageError
from limits.storage import RedisStorage, Storage
from sqlalchemy import Engine, case, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError

from models import RateLimit
from models.base import now

log = structlog.get_logger(__name__)
Result = TypeVar("Result")


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


class RedisCounters(RedisStorage):
    """Counts in Redis. A key that holds no count is that one key's fault: it is counted again from none.

    Everything else that Redis refuses (it is full, loading, read-only, wants another password) is the server's fault.
    """

    STORAGE_SCHEME = ["portico+redis"]  # noqa: RUF012 - the library registers schemes by this list
    COUNT = re.compile(rb"-?\d{1,15}")

    def __init__(self, uri: str, **options: Any) -> None:
        super().__init__(uri, wrap_exceptions=True, **options)
        self._told: set[str] = set()

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        return self._counted(key, partial(super().incr, key, expiry, amount))

    def get(self, key: str) -> int:
        return self._counted(key, partial(super().get, key))

    def _counted(self, key: str, act: Callable[[], Result]) -> Result:
        try:
            return act()
        except ValueError:
            self._drop_if_spoilt(key)
        except StorageError as error:
            # The library's own class is an answer without a code of its own, as for a value of another type; those
            # that tell of the server's state are other classes.
            if type(error.__cause__) is not self.dependency.ResponseError or not self._drop_if_spoilt(key):
                raise
        return act()

    def _drop_if_spoilt(self, key: str) -> bool:
        redis: Any = self.get_connection()
        name = self.prefixed_key(key)
        if redis.type(name) == b"string" and self.COUNT.fullmatch(redis.get(name) or b"0"):
            return False
        redis.delete(name)
        limit = key.partition("/")[0]
        if limit not in self._told:
            self._told.add(limit)
            log.warning("counter_spoilt", limit=limit)
        return True


def redis_storage(uri: str, *, seconds: float) -> RedisCounters:
    """Counters in Redis, asked once for so long. limits imports redis only here: it is 20 MiB of every process."""
    return RedisCounters(uri, socket_timeout=seconds, socket_connect_timeout=seconds, retry=None)


def purge(engine: Engine) -> int:
    """Delete counters whose window is over; returns how many."""
    with engine.connect() as connection:
        result: Any = connection.execute(delete(RateLimit).where(RateLimit.expires_at <= now()))
    return int(result.rowcount)
