"""An application over ten thousand users, called without a server: what a request costs the process."""

import io
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from app import create_app
from localdb.testing import Databases
from models import db
from services.base_service import unit_of_work
from tests.clients import Api
from tests.conftest import POOL, dispose
from tests.factories import make_person

USERS = 10_000
FILL = text(
    "INSERT INTO users (email, name, email_verified, created_at)"
    " SELECT 'user' || i || '@example.com', 'Name ' || i, true, now() - i * interval '1 minute'"
    " FROM generate_series(1, :users) AS i"
)
Call = Callable[..., bytes]


@pytest.fixture(scope="session")
def filled_app(test_databases: Databases) -> Iterator[Flask]:
    """The whole application, everything on, over a database with ten thousand users."""
    with test_databases.fresh_database("performance") as url:
        app = create_app("testing", DATABASE_URL=url, API_REQUESTS_PER_MINUTE=10**9, **POOL)
        with app.app_context(), unit_of_work():
            db.session.execute(FILL, {"users": USERS})
        with app.app_context(), db.engines["reading"].connect() as connection:
            connection.execute(text("VACUUM ANALYZE users"))
        yield app
        dispose(app)


@pytest.fixture(scope="session")
def call(filled_app: Flask) -> Call:
    """One request of an administrator through the WSGI callable; its body. Any other status than 200 fails."""
    token = Api(filled_app).as_(make_person(filled_app, "Ada Okonkwo", role="admin")).token

    def request(method: str, path: str, query: str = "", body: bytes = b"") -> bytes:
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "SCRIPT_NAME": "",
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": "localhost",
            "HTTP_AUTHORIZATION": f"Bearer {token}",
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
        told: list[str] = []
        data_written: list[bytes] = []

        def start_response(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None
        ) -> Callable[[bytes], object]:
            del headers, exc_info
            told.append(status)
            return data_written.append

        answer = filled_app(environ, start_response)
        data = b"".join(answer)
        getattr(answer, "close", lambda: None)()
        assert told[0].startswith("200"), (told, data)
        return data

    return request
