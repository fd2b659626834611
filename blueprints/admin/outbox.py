"""Administration: mails on their way."""

from uuid import UUID

from flask import Blueprint, Response, render_template, url_for

from blueprints.http.access import allow, even_impersonated, permission, signed_in_visitor
from blueprints.http.button import press
from blueprints.http.filters import Filters, choices, one_of
from blueprints.http.pagination import Pagination
from services import outbox_service
from services.permissions import MAIL_READ, MAIL_WRITE
from services.schemas.outbox import STATES, OutboxQuery

bp = Blueprint("admin_outbox", __name__, url_prefix="/admin/outbox")

FILTERS = {"status": one_of("State", choices(STATES, "filter[status]"))}


@bp.get("")
@allow(even_impersonated(permission(MAIL_READ)))
def index() -> str:
    """Every mail, newest first, and what became of it; never its text."""
    filters = Filters(OutboxQuery, FILTERS, cursor="", per_page="50")
    listing = filters.listing(outbox_service.page)
    return render_template(
        "admin/outbox.html",
        mails=listing.rows,
        stats=outbox_service.stats(),
        filters=filters.values,
        errors=[("", told) for _, told in filters.errors],  # there is no field to mend it in
        pagination=Pagination(listing),
    )


@bp.post("/<uuid:mail_id>/resend")
@allow(permission(MAIL_WRITE))
def resend(mail_id: UUID) -> Response:
    """Queue a mail once more."""
    return press(
        lambda: outbox_service.resend(mail_id, by=signed_in_visitor()),
        message="The mail is queued again.",
        back=url_for("admin_outbox.index"),
    )
