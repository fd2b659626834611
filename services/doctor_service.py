"""The doctor: looks at a deployment from inside, and says how to mend what is wrong with it."""

import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from flask import current_app
from sqlalchemy import select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from models import OutboxMail, db
from models.base import now
from models.data_export import DataExport
from models.enums import MailStatus
from models.second_factor import TotpCredential
from services import (
    crypto,
    database_log,
    health_service,
    media_service,
    operator_service,
    outbox_service,
    picture_removal_service,
    picture_service,
    slow_mode_service,
    smtp,
)
from services.base_service import probe
from services.errors import Unavailable
from services.findings import Finding, Status
from services.rate_limit_storage import redis_storage
from services.settings.kinds import is_near

OLDEST_SERVER = 14
WANTED_SERVER = 15
EXTENSIONS = ("pg_trgm",)
CLOCK_WARN_SECONDS, CLOCK_FAIL_SECONDS = 2.0, 10.0
LEAST_FREE_BYTES = 1 << 30
ANSWER_SECONDS = 5.0
RESERVED_CONNECTIONS = 10  # for migrations, commands, backups and the server itself

#: Rights that the app's role lacks; a superuser and an owner lack none.
MISSING_RIGHTS = """
SELECT format('%s (%s)', name, string_agg(kind, ', ' ORDER BY position))
FROM unnest(CAST(:tables AS text[])) AS name,
    unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) WITH ORDINALITY AS kinds (kind, position)
WHERE NOT has_table_privilege(name, kind) AND NOT (name = 'audit_events' AND kind IN ('UPDATE', 'DELETE'))
GROUP BY name
UNION ALL SELECT 'purge_audit_events' WHERE NOT has_function_privilege(
    'purge_audit_events(timestamptz, integer)', 'EXECUTE')
ORDER BY 1
"""
CAN_CHANGE_THE_LOG = """
SELECT pg_has_role(relowner, 'MEMBER') OR has_table_privilege(oid, 'UPDATE, DELETE, TRUNCATE, TRIGGER')
FROM pg_class WHERE oid = CAST('audit_events' AS regclass)
"""


def examine() -> list[Finding]:
    """Everything that can be looked at from here; waits some seconds for who does not answer.

    Leaves everything as it was: the file that it writes where pictures are kept is removed at once.
    """
    findings: list[Finding] = []
    for check in CHECKS:
        try:
            with probe():
                findings += check()
        except (SQLAlchemyError, OSError) as error:
            name = check.__name__.strip("_").replace("_", " ")
            findings.append(Finding(name, "fail", f"could not be looked at ({type(error).__name__})"))
    return findings


def of_faults(faults: dict[str, str]) -> list[Finding]:
    """What is wrong with settings that nothing can be started with."""
    return [
        Finding("settings", "fail", f"{name}: {reason}", "docs/configuration.md tells each variable.")
        for name, reason in faults.items()
    ]


def _settings() -> Iterator[Finding]:
    config = current_app.config
    yield Finding("settings", "pass", f"usable for {config['ENVIRONMENT']}")
    if not config["RATELIMIT_ENABLED"]:
        yield Finding("limits", "warn", "are off", "Set RATELIMIT_ENABLED=true, except for load tests.")
    if _is_real() and config["FORCE_HTTPS"] and not config["TRUSTED_PROXIES"]:
        yield Finding(
            "proxies",
            "fail",
            "no proxy is trusted, so no request counts as https: pages redirect for ever",
            "Set TRUSTED_PROXIES to the address of the proxy that ends TLS, such as 10.0.0.5 or 172.18.0.0/16.",
        )


def _database() -> Iterator[Finding]:
    check = health_service.database()
    if check["status"] == "fail":
        yield Finding(
            "database",
            "fail",
            "does not answer",
            "Is the server up, and are host, port, user, password and database in DATABASE_URL right?",
        )
        return
    detail = f"PostgreSQL {check['server_version']} answers in {check['latency_ms']} ms"
    slow = "It should stand near the web servers: each page asks it several times."
    yield Finding("database", check["status"], detail, slow if check["status"] == "warn" else "")
    yield from _server()
    yield from _schema()
    yield from _safety()


def _server() -> Iterator[Finding]:
    row = db.session.execute(
        text(
            "SELECT current_setting('server_version_num')::int / 10000 AS major,"
            " current_setting('max_connections')::int AS connections, clock_timestamp() AS moment,"
            " current_setting('server_encoding') AS encoding,"
            " (SELECT datcollate FROM pg_database WHERE datname = current_database()) AS locale"
        )
    ).one()
    yield from _version(row.major)
    yield from _clock(row.moment)
    if row.encoding != "UTF8":
        yield Finding(
            "encoding", "fail", row.encoding, "Make the database again: CREATE DATABASE ... ENCODING UTF8."
        )
    if row.locale not in {"C", "C.UTF-8", "C.utf8", "POSIX"}:
        yield Finding(
            "locale",
            "warn",
            f"{row.locale}: lists are ordered in another way than in development, and an update of the"
            " system's C library can damage indexes",
            "Make the database with LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' (before 17: LOCALE 'C.UTF-8').",
        )
    yield from _connections(row.connections)


def _version(major: int) -> Iterator[Finding]:
    if major < OLDEST_SERVER:
        yield Finding("version", "fail", f"PostgreSQL {major}", f"Upgrade to {WANTED_SERVER} or newer.")
    elif major < WANTED_SERVER:
        yield Finding(
            "version", "warn", f"PostgreSQL {major} works, but is not tested", f"Upgrade to {WANTED_SERVER}."
        )


def _clock(database_moment: datetime) -> Iterator[Finding]:
    apart = abs((now() - database_moment).total_seconds())
    status: Status = (
        "pass" if apart < CLOCK_WARN_SECONDS else "warn" if apart < CLOCK_FAIL_SECONDS else "fail"
    )
    remedy = "Let both machines follow a time server (chrony, systemd-timesyncd)." if status != "pass" else ""
    yield Finding("clock", status, f"{apart:.1f} s from the database's", remedy)


def _connections(most: int) -> Iterator[Finding]:
    config = current_app.config
    workers = config["GUNICORN_WORKERS"] or os.cpu_count() or 1
    wanted = workers * config["GUNICORN_THREADS"] + RESERVED_CONNECTIONS
    if wanted > most:
        yield Finding(
            "connections",
            "warn",
            f"one web server may want {wanted}, the database gives {most}",
            "Raise max_connections, or lower GUNICORN_WORKERS or GUNICORN_THREADS.",
        )


def _schema() -> Iterator[Finding]:
    check = health_service.migrations()
    remedy = "flask db upgrade" if check["status"] == "fail" else ""
    yield Finding("migrations", check["status"], check["detail"], remedy)
    there = set(db.session.scalars(text("SELECT name FROM pg_available_extensions")))
    for name in EXTENSIONS:
        if name not in there:
            remedy = "Install PostgreSQL's contrib package (postgresql-contrib) on the server."
            yield Finding("extension", "fail", f"{name} is not available", remedy)


def _safety() -> Iterator[Finding]:
    row = db.session.execute(
        text(
            "SELECT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS is_super,"
            " (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()) AS is_encrypted"
        )
    ).one()
    if row.is_super and _is_real():
        yield Finding(
            "database user",
            "fail",
            "is a superuser: a fault of ours would be one of the whole server",
            "Make roles of its own for this database (deploy/postgres/roles.sql).",
        )
    url = make_url(current_app.config["SQLALCHEMY_DATABASE_URI"])
    host = str(url.query.get("host") or url.host or "")
    if not is_near(host) and not row.is_encrypted:
        remedy = "Add ?sslmode=verify-full&sslrootcert=... to DATABASE_URL."
        yield Finding(
            "database encryption", "fail", "the connection to a distant database is in the clear", remedy
        )


def _database_roles() -> Iterator[Finding]:
    if health_service.migrations()["status"] == "fail":
        return
    remedy = "Run deploy/postgres/roles.sql (docs/deployment.md, Two roles)."
    missing = db.session.execute(text(MISSING_RIGHTS), {"tables": sorted(db.metadata.tables)}).scalars().all()
    if missing:
        yield Finding("rights", "fail", f"the app's role lacks {', '.join(missing)}", remedy)
    else:
        yield Finding("rights", "pass", "the app's role has what it needs")
    if not db.session.execute(text(CAN_CHANGE_THE_LOG)).scalar_one():
        yield Finding("audit log", "pass", "the app's role can only add to it")
    elif _is_real():
        yield Finding(
            "audit log", "warn", "the app's role could change it, or switch off what guards it", remedy
        )
    else:
        yield Finding("audit log", "pass", "guarded by a trigger; one role owns everything here")


def _pictures() -> Iterator[Finding]:
    try:
        picture_service.try_out()
    except Unavailable:
        remedy = (
            "Check AWS_S3_BUCKET, AWS_REGION and the keys' rights: s3:PutObject, GetObject, DeleteObject, ListBucket."
            if current_app.config["AWS_S3_BUCKET"]
            else "Let the app's user own MEDIA_DIR; web and worker need the same one."
        )
        yield Finding(
            "pictures", "fail", f"none can be kept in {media_service.place()}; the log says why", remedy
        )
    else:
        waiting = picture_removal_service.waiting()
        yield Finding("pictures", "pass", f"kept in {media_service.place()}; {waiting} wait to be removed")


def _former_keys() -> Iterator[Finding]:
    if not crypto.has_former_keys() or health_service.migrations()["status"] == "fail":
        return
    kept = {
        "second steps": select(TotpCredential.seed_encrypted),
        "mails": select(OutboxMail.payload_encrypted).where(OutboxMail.status == MailStatus.QUEUED),
        "copies of data": select(DataExport.content_encrypted).where(
            DataExport.content_encrypted.is_not(None)
        ),
    }
    found = {name: db.session.scalars(statement).all() for name, statement in kept.items()}
    old = {
        name: sum(not crypto.is_newest(row) for row in rows if row is not None)
        for name, rows in found.items()
    }
    told = ", ".join(f"{count} {name}" for name, count in old.items() if count)
    if told:
        remedy = "Keep the former FIELD_ENCRYPTION_KEY. flask purge renews second steps; the others end by themselves."
        yield Finding("former keys", "warn", f"{told} still need one", remedy)
    else:
        yield Finding("former keys", "pass", "nothing needs a former FIELD_ENCRYPTION_KEY any more")


def _administrator() -> Iterator[Finding]:
    if health_service.migrations()["status"] != "fail" and not operator_service.has_admin():
        remedy = "flask users create EMAIL --name NAME --role admin"
        yield Finding("administrator", "warn", "there is none", remedy)


def _mail() -> Iterator[Finding]:
    server = smtp.server()
    if server is None:
        yield Finding("mail", "pass", "kept for /dev/mail; MAIL_SERVER is not set")
        return
    try:
        with smtp.Connection(server) as connection:
            connection.greet()
    except smtp.ServerAway as error:
        remedy = (
            "Check MAIL_SERVER, MAIL_PORT, MAIL_USE_TLS or MAIL_USE_SSL, MAIL_USERNAME and MAIL_PASSWORD."
        )
        yield Finding("mail", "fail", str(error), remedy)
        return
    how = "over TLS" if server.implicit_tls or server.starttls else "in the clear"
    yield Finding("mail", "pass", f"{server.host}:{server.port} takes us {how}")


def _worker() -> Iterator[Finding]:
    if health_service.migrations()["status"] == "fail":
        return
    stats = outbox_service.stats()
    waits = (now() - stats.oldest_queued_at).total_seconds() if stats.oldest_queued_at else 0.0
    if waits > health_service.OUTBOX_LAG_SECONDS:
        yield Finding(
            "worker",
            "fail",
            f"{stats.queued} mails wait, the oldest for {waits / 60:.0f} minutes",
            "Is flask worker running? flask outbox list --status queued tells the last error.",
        )
    else:
        yield Finding("worker", "pass", f"{stats.queued} mails wait")
    if stats.failed:
        remedy = "flask outbox list --status failed tells why; flask outbox resend ID tries again."
        yield Finding("outbox", "warn", f"{stats.failed} mails were given up", remedy)


def _guesses() -> Iterator[Finding]:
    if health_service.migrations()["status"] != "fail" and slow_mode_service.is_on():
        remedy = 'docs/operating.md, "Slow mode": look for the addresses in the audit log and block them.'
        yield Finding("guesses", "warn", "wrong passwords for many accounts: slow mode is on", remedy)


def _redis() -> Iterator[Finding]:
    url = current_app.config["RATELIMIT_STORAGE_URI"] or current_app.config["REDIS_URL"]
    if not url.startswith("redis"):
        return
    began = time.perf_counter()
    if not redis_storage(url, seconds=1).check():
        remedy = "Check REDIS_URL or RATELIMIT_STORAGE_URI. Meanwhile each process counts for itself."
        yield Finding("redis", "fail", "does not answer", remedy)
        return
    yield Finding("redis", "pass", f"answers in {(time.perf_counter() - began) * 1000:.1f} ms")


def _disk() -> Iterator[Finding]:
    folders = {current_app.root_path, current_app.config["LOG_DIR"] or current_app.root_path}
    for folder in sorted(folders):
        usage = shutil.disk_usage(folder)
        low = usage.free < LEAST_FREE_BYTES or usage.free / usage.total < health_service.LEAST_FREE_DISK
        remedy = "Make room: logs, backups and the database stop when it is full." if low else ""
        detail = f"{usage.free / (1 << 30):.1f} GiB free on {folder}"
        yield Finding("disk", "warn" if low else "pass", detail, remedy)
    directory = current_app.config["LOG_DIR"]
    if directory and not os.access(Path(directory), os.W_OK):
        yield Finding("logs", "fail", f"{directory} can't be written to", "Let the app's user own LOG_DIR.")


def _site() -> Iterator[Finding]:
    if not _is_real():
        return
    url = f"{current_app.config['BASE_URL']}/health"
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as answer:  # noqa: S310  # BASE_URL is https
            healthy = b'"healthy"' in answer.read(1000)
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        remedy = "Is the site up, does its name lead to the proxy, is its certificate good? From here it may be closed."
        yield Finding("site", "warn", f"{url} does not answer: {reason}", remedy)
        return
    if healthy:
        yield Finding("site", "pass", f"{url} is healthy")
    else:
        yield Finding(
            "site", "warn", f"{url} is somebody else's answer", "BASE_URL must lead to this application."
        )


def _is_real() -> bool:
    return current_app.config["ENVIRONMENT"] in {"staging", "production"}


CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _settings,
    _database,
    _database_roles,
    database_log.check,
    _former_keys,
    _administrator,
    _mail,
    _worker,
    _guesses,
    _redis,
    _disk,
    _pictures,
    _site,
)
