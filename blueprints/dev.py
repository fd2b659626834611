"""The development mailbox: every mail as it was written. Anywhere else these addresses do not exist."""

import re
from uuid import UUID

from flask import Blueprint, Response, current_app, render_template, url_for
from pydantic import TypeAdapter

from blueprints.http.access import allow, anyone
from blueprints.http.envelope import JSON
from blueprints.http.headers import page_policy
from services import outbox_service
from services.errors import NotFound
from services.schemas.outbox import MailboxMail

bp = Blueprint("dev", __name__, url_prefix="/dev")

ENVIRONMENTS = frozenset({"development", "testing"})
#: The mail in its frame: its own styles, and nothing else of the world.
MAIL_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'; "
    "base-uri 'none'; form-action 'none'; sandbox"
)
LINK = re.compile(r"https?://[^\s<>\"]+")
_dump = TypeAdapter(list[MailboxMail]).dump_json


@bp.before_request
def only_in_development() -> None:
    """Whoever can read these mails can open every account."""
    if current_app.config["ENVIRONMENT"] not in ENVIRONMENTS:
        raise NotFound


@bp.get("/mail")
@allow(anyone)
def mailbox() -> Response:
    """Every mail, newest first."""
    return _page(outbox_service.mailbox(), None)


@bp.get("/mail/<uuid:mail_id>")
@allow(anyone)
def message(mail_id: UUID) -> Response:
    """One mail beside the list."""
    mails = outbox_service.mailbox()
    return _page(mails, _find(mails, mail_id))


@bp.get("/mail/<uuid:mail_id>/html")
@allow(anyone)
def message_html(mail_id: UUID) -> Response:
    """The HTML of a mail, for the frame on its page."""
    mail = _find(outbox_service.mailbox(), mail_id)
    headers = {"Content-Security-Policy": MAIL_POLICY, "X-Frame-Options": "SAMEORIGIN"}
    return Response(mail.html, mimetype="text/html", headers=headers)


@bp.get("/mail.json")
@allow(anyone)
def mail_json() -> Response:
    """Every mail with its content, newest first, as a JSON list."""
    return Response(_dump(outbox_service.mailbox()), mimetype=JSON)


def _page(mails: list[MailboxMail], mail: MailboxMail | None) -> Response:
    page = render_template(
        "dev/mail.html",
        mails=mails,
        mail=mail,
        links=LINK.findall(mail.text) if mail else [],
        json_url=url_for("dev.mail_json"),
    )
    headers = {"Content-Security-Policy": page_policy(frame_src="'self'")}
    return Response(page, mimetype="text/html", headers=headers)


def _find(mails: list[MailboxMail], mail_id: UUID) -> MailboxMail:
    for mail in mails:
        if mail.id == mail_id:
            return mail
    raise NotFound
