"""A mail server, and an application that sends through it."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, text

from app import create_app
from localdb.testing import Databases
from models import OutboxMail, db
from services import mail_service
from services.base_service import unit_of_work
from tests.conftest import POOL, dispose
from tests.integration.mail.desk import Outbox, SetAll, Write
from tests.integration.mail.postbox import HOST, Postbox


@pytest.fixture(scope="module")
def module_app(test_databases: Databases) -> Iterator[Flask]:
    """An application on a database of its own, for all tests of a module."""
    with test_databases.fresh_database("mail") as url:
        app = create_app("testing", DATABASE_URL=url, **POOL)
        yield app
        dispose(app)


@pytest.fixture
def real_app(module_app: Flask) -> Iterator[Flask]:
    """In place of a database for each test: mails touch few tables, so these are emptied instead."""
    settings = dict(module_app.config)
    yield module_app
    module_app.config.update(settings)
    with module_app.app_context(), unit_of_work():
        db.session.execute(text("DELETE FROM outbox"))
        db.session.execute(text("DELETE FROM rate_limits"))


@pytest.fixture
def postbox() -> Iterator[Postbox]:
    """A mail server that takes everything; `close` and `open` play an outage."""
    box = Postbox(port=_free_port())
    box.open()
    yield box
    box.close()


@pytest.fixture
def mail_app(app: Flask, postbox: Postbox) -> Flask:
    """The application, sending through `postbox` in the clear."""
    app.config.update(
        MAIL_SERVER=HOST,
        MAIL_PORT=postbox.port,
        MAIL_USE_TLS=False,
        MAIL_TIMEOUT_SECONDS=5.0,
        BASE_URL="https://portico.example.com",
        MAIL_DEFAULT_SENDER="no-reply@portico.example.com",
    )
    return app


@pytest.fixture
def write(app: Flask) -> Write:
    """Write mails into the outbox, each committed: `write("alice@example.com", …)`."""

    def write_(*addresses: str) -> None:
        for address in addresses:
            with app.app_context(), unit_of_work():
                mail_service.send("already_registered", to=address, name="Alice")

    return write_


@pytest.fixture
def outbox(app: Flask) -> Outbox:
    """The outbox as it is, oldest first."""

    def outbox_() -> list[OutboxMail]:
        with app.app_context():
            return list(db.session.scalars(select(OutboxMail).order_by(OutboxMail.created_at)))

    return outbox_


@pytest.fixture
def set_all(app: Flask) -> SetAll:
    """Set columns of every mail to SQL expressions: time passes, attempts were made."""

    def set_all_(**columns: Any) -> None:
        assignments = ", ".join(f"{name} = {value}" for name, value in columns.items())
        with app.app_context(), unit_of_work():
            db.session.execute(text(f"UPDATE outbox SET {assignments}"))

    return set_all_


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
