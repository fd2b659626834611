"""What libraries and the database would put into our log: signatures, keys, rows (ASVS 16.2.5)."""

import io
import logging
from collections.abc import Iterator

import pytest
import structlog
from flask import Flask
from moto.server import ThreadedMotoServer
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app import create_app
from blueprints.http import logs
from models import db
from services.base_service import unit_of_work
from services.media_stores.bucket import Bucket
from tests.clients import Api
from tests.factories import Person

KEY, SECRET = "AKIACANARYCANARY7777", "canary/9f4e7a/secret/key"
FILE = "0" * 32 + "-64.webp"


@pytest.fixture(params=["json", "text"])
def log(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """The log of a process with LOG_LEVEL=DEBUG."""
    root, stream = logging.getLogger(), io.StringIO()
    kept, level = root.handlers[:], root.level
    app = Flask("portico")
    app.config.update(LOG_FORMAT=request.param, LOG_LEVEL="DEBUG", LOG_DIR="")
    logs.init_app(app, stream)
    yield stream
    for handler in root.handlers[:]:
        if handler not in kept:
            root.removeHandler(handler)
    root.handlers[:] = kept
    root.setLevel(level)


@pytest.fixture
def endpoint() -> Iterator[str]:
    """A server that speaks S3."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def test_a_bucket_leaves_no_signature_and_no_key_in_the_log(
    log: io.StringIO, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    bucket = Bucket("pictures", "us-east-1", endpoint)
    bucket.client.create_bucket(Bucket="pictures")
    bucket.save(FILE, b"canary of a picture")
    assert bucket.read(FILE) == b"canary of a picture"
    logging.getLogger("services.x").debug("ours")
    written = log.getvalue()
    assert "ours" in written, "LOG_LEVEL=DEBUG is for our own lines"
    for word in (KEY, SECRET, "AWS4-HMAC-SHA256", "Signature", "Authorization", "x-amz", "canary"):
        assert word.lower() not in written.lower(), word


def test_a_library_that_was_told_to_be_chatty_is_not_heard(log: io.StringIO) -> None:
    chatty = logging.getLogger("botocore.auth")
    chatty.setLevel(logging.DEBUG)
    try:
        chatty.debug("CanonicalRequest: %s", SECRET)
        chatty.warning("slow")
    finally:
        chatty.setLevel(logging.NOTSET)
    assert SECRET not in log.getvalue()
    assert "slow" in log.getvalue()


REFUSED = {
    "a taken address": "INSERT INTO users (email, name) VALUES (:email, 'x'), (:email, 'x')",
    "a row that breaks a rule": "INSERT INTO users (email, name) VALUES (:email, '')",
    "a role that is not there": "UPDATE users SET role = :email",
    "a refusal of its own": "DO 'BEGIN RAISE ''refused'' USING DETAIL = ''can'' || ''ary@example.com''; END'",
}


@pytest.mark.parametrize("refused", REFUSED)
def test_a_refused_statement_leaves_no_row_in_the_log(
    app: Flask, alice: Person, log: io.StringIO, refused: str
) -> None:
    """Also from a library, and where it is only the cause of what is logged."""
    given = {"email": "canary@example.com"} if ":email" in REFUSED[refused] else {}
    with app.app_context():
        try:
            with db.session.begin_nested():
                db.session.execute(text(REFUSED[refused]), given)
        except SQLAlchemyError as error:
            logging.getLogger("services.x").exception("from us")
            logging.getLogger("elsewhere").error("from a library", exc_info=error)
            try:
                raise RuntimeError("later") from error
            except RuntimeError:
                structlog.get_logger("services.y").exception("the cause")
    written = log.getvalue()
    assert written.count("psycopg2.errors") >= 3
    assert "canary" not in written
    assert "DETAIL:" not in written


@pytest.mark.real_database
def test_a_fault_of_ours_at_the_database_leaves_no_row_in_the_log(
    app: Flask, api: Api, log: io.StringIO
) -> None:
    with app.app_context(), unit_of_work():
        db.session.execute(
            text(
                "CREATE FUNCTION injected() RETURNS trigger LANGUAGE plpgsql AS"
                " $$ BEGIN RAISE 'injected' USING DETAIL = NEW.email; END $$;"
                " CREATE TRIGGER injected BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION injected()"
            )
        )
    body = {"email": "canary@example.com", "name": "Canary", "password": "canary of a long pass phrase"}
    assert api.post("/auth/register", body).status_code == 500
    written = log.getvalue()
    assert "unhandled_exception" in written
    assert "injected" in written
    for word in ("canary", "$argon2"):
        assert word not in written.lower(), word


@pytest.mark.parametrize("echo", [True, False])
def test_values_of_statements_are_for_those_who_ask_for_them(echo: bool) -> None:
    app = create_app("testing", DATABASE_URL="postgresql://nobody@127.0.0.1:1/none", SQLALCHEMY_ECHO=echo)
    with app.app_context():
        assert db.engine.hide_parameters is not echo
