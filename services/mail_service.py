"""Writing mails: a template and its context become a row in the outbox, in the transaction of its cause.

Nothing leaves here; `outbox_service` delivers what was committed. Each mail is `templates/emails/<kind>.txt`,
whose first line is the subject, and `<kind>.html`.
"""

import ipaddress
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

from flask import Flask, current_app
from jinja2 import Environment, StrictUndefined
from sqlalchemy import func, insert, select

from models import db
from models.base import now
from models.outbox import OutboxMail
from services import crypto
from services.device import device_name
from services.origin import origin

CHANNEL = "outbox"
LONGEST_SUBJECT = 200
LONGEST_VALUE = 2_000
LONGEST_NAME = 60

# A name is greeted only if it looks like one: whoever registers somebody else's address chooses the name, and
# must not get a link, a telephone number or an offer delivered under our letterhead.
_BETWEEN_LETTERS = frozenset(" .,'’‘·-\u200c\u200d")
_DOMAIN_IN_NAME = re.compile(r"\w\.\w\w", re.UNICODE)

# Categories that never belong in a mail: control characters, line and paragraph separators, lone surrogates.
_FORBIDDEN_CATEGORIES = frozenset({"Cc", "Zl", "Zp", "Cs"})
_BIDI_CONTROLS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True, slots=True)
class RenderedMail:
    """A mail as its reader gets it."""

    subject: str
    text: str
    html: str


def send(kind: str, /, *, to: str, **context: object) -> None:
    """Put the mail `kind` for `to` into the outbox; it leaves once the transaction in progress is committed.

    `context` is what the template asks for; one value too few raises jinja2.UndefinedError.
    """
    db.session.add(OutboxMail(**_written(kind, to, context)))
    _call_workers()


def send_each(kind: str, /, people: Iterable[tuple[str, str]], **context: object) -> None:
    """The same mail to several people, each by (address, name) and in a mail of his own; one statement for all."""
    written = [_written(kind, to, {**context, "name": name}) for to, name in people]
    if written:
        db.session.execute(insert(OutboxMail).values(written))
        _call_workers()


def render(kind: str, /, *, to: str, **context: object) -> RenderedMail:
    """The mail `kind` as `to` reads it. Texts in `context` become one line without control characters."""
    templates = _templates()
    values = _common(to) | {key: _clean(value) for key, value in context.items()}
    values["greeting"] = _greeting(values.get("name"))
    values["inviter"] = _person(values.get("invited_by")) or "An administrator"
    subject, _, text = templates.get_template(f"emails/{kind}.txt").render(values).strip().partition("\n")
    values["subject"] = _one_line(subject, LONGEST_SUBJECT)
    html = templates.get_template(f"emails/{kind}.html").render(values)
    return RenderedMail(values["subject"], _without_wide_gaps(text), html.strip() + "\n")


def link(path: str, **query: str) -> str:
    """The address of `path` under BASE_URL. What the caller's Host header says never counts."""
    base = current_app.config["BASE_URL"]
    return f"{base}{path}?{urlencode(query)}" if query else f"{base}{path}"


def _written(kind: str, to: str, context: Mapping[str, object]) -> dict[str, Any]:
    """The row of a mail."""
    mail = render(kind, to=to, **context)
    mail_id = uuid4()
    payload = json.dumps({"text": mail.text, "html": mail.html}, ensure_ascii=False)
    return {
        "id": mail_id,
        "kind": kind,
        "to_address": to,
        "subject": mail.subject,
        "payload_encrypted": crypto.encrypt(payload.encode()),
        "message_id": f"<{mail_id}@{_host()}>",
    }


def _call_workers() -> None:
    """They hear it when the transaction commits; one that misses it finds the row in its next sweep."""
    db.session.execute(select(func.pg_notify(CHANNEL, "")))


def _templates() -> Environment:
    made: Environment | None = current_app.extensions.get("mail_templates")
    if made is None:
        made = current_app.extensions["mail_templates"] = _make_templates(current_app)
    return made


def _make_templates(app: Flask) -> Environment:
    templates = app.jinja_env.overlay(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    templates.globals = {"link": link}  # nothing of the request: a mail looks the same from a command
    templates.filters = {**templates.filters, "duration": duration, "moment": moment}
    return templates


def _common(to: str) -> dict[str, Any]:
    when = moment(now())
    return {
        "app_name": _one_line(current_app.config["APP_NAME"], LONGEST_NAME),
        "home": link("/"),
        "site": _host(),
        "to": _one_line(to, LONGEST_VALUE),
        "when": when,
        "circumstances": [("When", when), *_whence()],
    }


def _whence() -> list[tuple[str, str]]:
    """Device and address of the call in progress, as far as known.

    The user agent itself is never shown: its sender could write a message into somebody else's mail with it.
    """
    here = origin()
    device = device_name(here.user_agent) if here.user_agent else ""
    return [row for row in (("Device", device), ("IP address", _address(here.address))) if row[1]]


def moment(value: datetime) -> str:
    """A time for people: 20 November 2026, 09:41 UTC."""
    value = value.astimezone(UTC)
    return f"{value.day} {value:%B %Y, %H:%M} UTC"


def duration(value: timedelta) -> str:
    """A length of time in its largest whole unit: 30 minutes, 24 hours, 3 days."""
    minutes = max(1, round(value.total_seconds() / 60))
    for unit, size, least in (("day", 1440, 2), ("hour", 60, 1), ("minute", 1, 1)):
        count, rest = divmod(minutes, size)
        if not rest and count >= least:
            return f"{count} {unit}" if count == 1 else f"{count} {unit}s"
    raise AssertionError("one minute divides everything")


def _address(value: str | None) -> str:
    try:
        return str(ipaddress.ip_address(value or ""))
    except ValueError:
        return ""


def _greeting(name: object) -> str:
    person = _person(name)
    return f"Hello {person}," if person else "Hello,"


def _person(name: object) -> str:
    """The name if it looks like a person's, else nothing."""
    text = name.strip() if isinstance(name, str) else ""
    return text if _looks_like_a_name(text) else ""


def _looks_like_a_name(text: str) -> bool:
    if not text[:1].isalpha() or len(text) > LONGEST_NAME or _DOMAIN_IN_NAME.search(text):
        return False
    return all(unicodedata.category(char)[0] in "LM" or char in _BETWEEN_LETTERS for char in text)


def _clean(value: object) -> object:
    if isinstance(value, str):
        return _one_line(value, LONGEST_VALUE)
    if isinstance(value, Mapping):
        return {key: _clean(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(part) for part in value]
    return value


def _one_line(text: str, longest: int) -> str:
    """Text without control characters, line breaks and direction marks, cut at `longest` characters."""
    safe = "".join(" " if unicodedata.category(char) in _FORBIDDEN_CATEGORIES else char for char in text)
    safe = "".join(char for char in safe if char not in _BIDI_CONTROLS)
    safe = " ".join(safe.split())
    return safe if len(safe) <= longest else safe[: longest - 1] + "…"


def _without_wide_gaps(text: str) -> str:
    """Optional paragraphs leave empty lines behind: at most one stays."""
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _host() -> str:
    return urlsplit(current_app.config["BASE_URL"]).hostname or "localhost"
