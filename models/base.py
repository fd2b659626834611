"""The database object, the base of every model, and the one clock."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy.session import Session
from sqlalchemy import BigInteger, DateTime, LargeBinary, MetaData, Row, Select, Text, Uuid
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import DeclarativeBase, registry

from models.reading import reader

CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Naming convention and the PostgreSQL type of each Python type."""

    registry = registry(
        metadata=MetaData(naming_convention=CONVENTION),
        type_annotation_map={
            int: BigInteger,
            str: Text,
            bytes: LargeBinary,
            datetime: DateTime(timezone=True),
            UUID: Uuid(),
            dict[str, Any]: JSONB,
        },
    )


class RequestSession(Session):
    """A session that uses the reader's AUTOCOMMIT connection where there is one: no BEGIN, no ROLLBACK."""

    def get_bind(
        self, mapper: Any = None, clause: Any = None, bind: Engine | Connection | None = None, **kwargs: Any
    ) -> Engine | Connection:
        if bind is None and (reads := reader()) is not None:
            return reads.for_session()
        return super().get_bind(mapper=mapper, clause=clause, bind=bind, **kwargs)


db = SQLAlchemy(
    model_class=Base,
    disable_autonaming=True,
    session_options={"class_": RequestSession, "expire_on_commit": False},
)

if TYPE_CHECKING:
    Model = Base  # Flask-SQLAlchemy's own attribute is untyped
else:
    Model = db.Model


def now() -> datetime:
    """The time, aware, in UTC. Nobody else asks the clock."""
    return datetime.now(UTC)


#: Rows and statements whose columns the reader need not know.
AnyRow: TypeAlias = Row[*tuple[Any, ...]]
AnySelect: TypeAlias = Select[*tuple[Any, ...]]
