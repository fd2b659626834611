"""The application: `create_app` puts the rooms together; `application` and `app` are made when first asked for."""

import atexit
import logging
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import cache
from pathlib import Path
from typing import Any, cast

import click
from flask import Flask, Response, request
from flask.cli import FlaskGroup
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, OperationalError
from werkzeug.routing import IntegerConverter

import localdb
import models
from blueprints import register_blueprints
from blueprints.commands import doctor as doctor_commands
from blueprints.commands import settings as settings_commands
from blueprints.http import access, errors, even, guard, logs, refusals
from blueprints.http import templates as page_templates
from blueprints.http.headers import Porch
from blueprints.http.hosts import Hosts
from blueprints.http.proxies import Proxies
from config import ENVIRONMENTS, PROJECT_ROOT, VERSION, Config, ConfigurationError, environment
from extensions import migrate
from localdb.testing import Databases, databases
from models import db
from models.connections import Watch, writing
from services import (
    issuer_service,
    media_service,
    migration_service,
    password_service,
    signing_keys,
    throttle_service,
)
from services.base_service import reading, unit_of_work
from services.errors import DomainError
from services.settings.oidc import issuer_of

__all__ = ["create_app", "db"]

MIGRATIONS = PROJECT_ROOT / "migrations"
#: `flask` commands that serve: their log goes to standard output, as that of gunicorn does.
SERVING = ("run", "start", "web", "worker")
TRIES = 3
#: serialization_failure, deadlock_detected: PostgreSQL asks for the same again.
RETRIABLE = frozenset({"40001", "40P01"})
_dice = random.SystemRandom()


class IdConverter(IntegerConverter):
    """`<id:user_id>`: a positive bigint without leading zeros; anything else is no address.

    At most 18 digits, so that the pattern alone decides: where a converter refuses a match, Werkzeug answers 405.
    """

    regex = r"[1-9]\d{0,17}"

    def __init__(self, map: Any) -> None:
        super().__init__(map, max=10**18 - 1)


class Portico(Flask):
    """Flask with one life for each request: guard, act, commit, then tell the world (docs/architecture.md)."""

    def dispatch_request(self, *context: Any) -> Any:
        guard.check()
        request.environ["portico.route"] = request.url_rule.rule if request.url_rule else None
        only_reads = request.method in {"GET", "HEAD", "OPTIONS"}
        began = time.monotonic()
        for tries_left in reversed(range(TRIES)):
            try:
                with self._unit(only_reads):
                    answer = super().dispatch_request(*context)
            except DBAPIError as error:
                if not tries_left or not _worth_repeating(error, only_reads):
                    raise
                db.session.remove()
                time.sleep(_dice.uniform(0.01, 0.04) * (TRIES - tries_left))
            except DomainError as refused:
                if refused.keep_changes and not only_reads:  # what it wrote was committed, as with a success
                    even.wait(began)
                raise
            else:
                if not only_reads:
                    even.wait(began)
                return answer
        raise AssertionError("unreachable")

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The function: none of ours is a coroutine, and asking costs each request four looks."""
        return func

    def _unit(self, only_reads: bool) -> AbstractContextManager[None]:
        view = self.view_functions.get(request.endpoint or "")
        if hasattr(view, "opens_units"):
            return nullcontext()  # it waits for somebody else in between, without a connection
        return reading() if only_reads else unit_of_work()

    def send_static_file(self, filename: str) -> Response:
        return page_templates.keep_if_hashed(super().send_static_file(filename), filename)


def create_app(config_name: str | None = None, **overrides: Any) -> Flask:
    """An application for an environment (`FLASK_CONFIG` when None); `overrides` are settings that win.

    Raises ConfigurationError that lists every fault. Starts the development database when none is configured, but
    sends no statement.
    """
    settings = environment(config_name).load(**overrides)
    app = Portico("portico", root_path=str(PROJECT_ROOT), static_folder="static", template_folder="templates")
    app.extensions.update(settings=settings, environments=ENVIRONMENTS, environment=settings.ENVIRONMENT)
    _configure(app, settings)
    logs.init_app(app, stream=sys.stderr if _answers_on_stdout() else sys.stdout)
    _connect(app)
    app.url_map.converters["id"] = IdConverter
    app.url_map.merge_slashes = False
    app.extensions["started_at"] = time.time()
    app.extensions["draining"] = threading.Event()
    access.init_app(app)
    errors.init_app(app)
    page_templates.init_app(app)
    refusals.init_app(app)
    media_service.init_app(app)
    password_service.init_app(app)
    signing_keys.init_app(app)
    throttle_service.init_app(app)
    issuer_service.init_app(app)
    register_blueprints(app)
    app.shell_context_processor(lambda: {name: getattr(models, name) for name in models.__all__})
    app.wsgi_app = Porch(  # type: ignore[method-assign]  # as Flask's documentation has it
        app.wsgi_app,
        base_url=app.config["BASE_URL"],
        hosts=Hosts(settings.trusted_hosts),
        proxies=Proxies(settings.TRUSTED_PROXIES),
        force_https=settings.FORCE_HTTPS,
    )
    if not settings.RATELIMIT_ENABLED:
        logging.getLogger(__name__).warning("Rate limits are off (RATELIMIT_ENABLED)")
    return app


def _configure(app: Flask, settings: Config) -> None:
    app.config.from_mapping(settings.model_dump())
    app.config.update(
        ENVIRONMENT=settings.ENVIRONMENT,
        VERSION=VERSION,
        TESTING=settings.ENVIRONMENT == "testing",
        DEBUG=settings.FLASK_DEBUG,
        BASE_URL=settings.url,
        OIDC_ISSUER=issuer_of(settings),
        OIDC_NAME=settings.OIDC_NAME or ("Auth0" if settings.AUTH0_DOMAIN else "your organisation"),
        TRUSTED_HOSTS=None,  # Flask reads it itself, and then refuses probes: blueprints/http/hosts.py has ours
        SECRET_KEY_FALLBACKS=list(settings.SECRET_KEY_FALLBACKS),
        SESSION_COOKIE_NAME="__Host-session" if settings.SESSION_COOKIE_SECURE else "session",
        DEVICE_COOKIE_NAME="__Host-device" if settings.SESSION_COOKIE_SECURE else "device",
        SESSION_COOKIE_PATH="/",
        MAX_CONTENT_LENGTH=1024 * 1024,
        MAX_FORM_MEMORY_SIZE=64 * 1024,
        MAX_FORM_PARTS=100,
        WTF_CSRF_CHECK_DEFAULT=False,  # blueprints/http/access.py checks, on every page that acts
        WTF_CSRF_SSL_STRICT=False,  # there too: by Fetch metadata and Origin, which privacy add-ons leave alone
        WTF_CSRF_TIME_LIMIT=None,  # a token lives as long as its session
        PROPAGATE_EXCEPTIONS=False,
        TEMPLATES_AUTO_RELOAD=settings.ENVIRONMENT == "development",
    )


def _connect(app: Flask) -> None:
    url = app.config["DATABASE_URL"] or _local_database(app)
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    # The server's own time-out comes first, with a reason; this is for a server that cannot even tell the time.
    watch = Watch(app.config["DATABASE_STATEMENT_TIMEOUT_SECONDS"] + 0.5)
    app.extensions["database_watch"] = watch
    milliseconds = {
        "statement_timeout": app.config["DATABASE_STATEMENT_TIMEOUT_SECONDS"],
        "lock_timeout": app.config["DATABASE_LOCK_TIMEOUT_SECONDS"],
        "idle_in_transaction_session_timeout": 10,
    }
    options = " ".join(f"-c {name}={int(seconds * 1000)}" for name, seconds in milliseconds.items())
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {
        "pool_size": app.config["SQLALCHEMY_POOL_SIZE"],
        "max_overflow": app.config["SQLALCHEMY_MAX_OVERFLOW"],
        "pool_timeout": app.config["SQLALCHEMY_POOL_TIMEOUT"],
        "pool_recycle": app.config["SQLALCHEMY_POOL_RECYCLE"],
        "isolation_level": "AUTOCOMMIT",
        "use_native_hstore": False,
        # An error's own words are logged; values are for those who ask for them, which production refuses.
        "hide_parameters": not app.config["SQLALCHEMY_ECHO"],
        "connect_args": {
            "connection_factory": watch.connection_factory,
            "tcp_user_timeout": 5000,
            "application_name": "portico",
            "options": f"{options} -c timezone=UTC",
        },
    }
    db.init_app(app)
    migrate.init_app(app, db)
    with app.app_context():
        watch.over(db.engine, sockets=app.config["SQLALCHEMY_POOL_PRE_PING"])
        engines = cast("dict[str | None, Engine]", db.engines)
        engines["reading"] = db.engine
        engines[None] = writing(db.engine)


def _local_database(app: Flask) -> str:
    if app.testing:
        return _test_databases().create("alone")
    return localdb.development_url(PROJECT_ROOT)


@cache
def _test_databases() -> Databases:
    """Databases for `create_app("testing")` alone: each application gets a fresh one, gone with the process."""
    until_exit = ExitStack()
    atexit.register(until_exit.close)
    return until_exit.enter_context(databases(PROJECT_ROOT, migrations=MIGRATIONS, build=_build))


def _build(url: str) -> None:
    app = create_app("testing", DATABASE_URL=url)
    with app.app_context():
        migration_service.bring_up_to_date()
        db.session.remove()
        db.engine.dispose()
    app.extensions["counter_engine"].dispose()


def _worth_repeating(error: DBAPIError, only_reads: bool) -> bool:
    """A deadlock's victim, or a read whose connection had died in the pool."""
    if getattr(error.orig, "pgcode", None) in RETRIABLE:
        return True
    return only_reads and error.connection_invalidated and isinstance(error, OperationalError)


def _flask_command() -> str:
    """The first word after `flask` on the command line; empty in other programs."""
    if os.environ.get("FLASK_RUN_FROM_CLI") != "true" or Path(sys.argv[0]).stem not in {"flask", "__main__"}:
        return ""
    words = iter(sys.argv[1:])
    for word in words:
        if word in {"-A", "--app", "-e", "--env-file"}:
            next(words, None)
        elif not word.startswith("-"):
            return word
    return ""


def _answers_on_stdout() -> bool:
    """Whether this is a command whose output is an answer, which log lines would spoil."""
    return _flask_command() not in {"", *SERVING}


def _where_flask_runs() -> dict[str, Any]:
    """The address that `flask run` was told, so that links in mails lead there."""
    context = click.get_current_context(silent=True)
    if context is None or context.info_name != "run" or "port" not in context.params:
        return {}
    return {"FLASK_HOST": context.params["host"], "PORT": context.params["port"]}


def _for_this_process() -> Flask:
    """The application by the environment. A database of our own always has the tables that this code expects."""
    command = _flask_command()
    if command == "config" or (command == "doctor" and environment().draft()[1]):
        return _only_settings()
    made = create_app(**_where_flask_runs())
    if not made.config["DATABASE_URL"] and not made.testing and command != "db":
        with made.app_context():
            migration_service.bring_up_to_date()
    return made


def _only_settings() -> Flask:
    """An application with the commands that tell about settings, usable or not; no database is touched."""
    made = Flask("portico", root_path=str(PROJECT_ROOT))
    made.extensions.update(environments=ENVIRONMENTS, environment=environment().ENVIRONMENT)
    made.register_blueprint(settings_commands.bp)
    made.register_blueprint(doctor_commands.bp)
    return made


def __getattr__(name: str) -> Flask:
    """`application` and `app`, for gunicorn, uWSGI and `flask`: made when first asked for, by the environment."""
    if name not in {"application", "app"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        made = _for_this_process()
    except (ConfigurationError, localdb.LocalDatabaseError) as error:
        sys.exit(str(error))
    globals()["application"] = globals()["app"] = made
    return made


if "uwsgi" in sys.modules:  # it looks into the module's dictionary and never asks __getattr__
    application = __getattr__("application")

if __name__ == "__main__":
    FlaskGroup(create_app=lambda: __getattr__("application")).main(["start", "--no-worker", *sys.argv[1:]])
