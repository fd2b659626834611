"""One's own data on pages: a copy to take away, the end of the account, and the way back."""

from flask import Blueprint, Response, render_template, request, url_for

from blueprints.http import links
from blueprints.http.access import allow, anyone, ask_again, fresh, signed_in, signed_in_visitor, visitor
from blueprints.http.button import press
from blueprints.http.download import json_file
from blueprints.http.errors import answer, wants_json
from blueprints.http.form import Form, told
from blueprints.http.links import by_link, needed
from services import api_key_service, auth_service, deletion_service, export_service, session_service
from services.errors import LinkExpired
from services.schemas.auth import LinkOut, LinkPurpose, TokenIn
from services.schemas.own_data import DeletionOut
from services.schemas.user import DeleteMeIn

bp = Blueprint("own_data", __name__, url_prefix="/account")

PURPOSES = {
    "own_data.restore": LinkPurpose.RESTORE_ACCOUNT,
    "own_data.download_by_link": LinkPurpose.DOWNLOAD_EXPORT,
}


@bp.route("/delete", methods=["GET", "POST"])
@allow(signed_in)
def delete() -> Response:
    """What goes, what stays, until when it can be undone; then the account's end is asked for."""
    by = signed_in_visitor()
    has_password = auth_service.by_password(by.user_id)
    if not has_password and (detour := ask_again(by)):
        return detour
    form = Form(DeleteMeIn)
    if form.submit(lambda data: auth_service.delete_own(data, by=by)):
        return told(
            url_for("own_data.delete"),
            data=lambda: DeletionOut(deletes_at=form.result),
            message="Your account will be deleted. A mail says when, and how to undo it.",
            status=202,
        )
    return form.render(
        "account/delete.html",
        deletes_at=by.deletes_at,
        grace=deletion_service.grace().days,
        has_password=has_password,
        sessions_count=len(session_service.list_of(by.user_id, current=None)) - 1,
        keys_count=len(api_key_service.list_of(by.user_id)),
    )


@bp.post("/keep")
@allow(signed_in)
def keep() -> Response:
    """Keep the account after all."""
    by = signed_in_visitor()
    return press(
        lambda: deletion_service.undo(by=by),
        message="Your account stays. Nothing was deleted.",
        back=url_for("account.profile"),
    )


@bp.route("/restore", methods=["GET", "POST"])
@allow(anyone)
@by_link(LinkPurpose.RESTORE_ACCOUNT)
def restore(link: LinkOut | None) -> Response:
    """Keep an account by the link in the receipt, signed in or not."""
    form = Form(TokenIn)
    if form.submit(lambda data: deletion_service.undo_by_link(data.token)):
        onward = url_for("main.dashboard" if visitor() else "auth.login")
        return told(onward, message="Your account stays. Nothing was deleted.")
    return form.render("account/restore.html", token=needed(link).token, email=needed(link).email)


@bp.route("/export", methods=["GET", "POST"])
@allow(signed_in)
def export() -> Response | str:
    """Ask for a copy of everything kept about you, and fetch it."""
    by = signed_in_visitor()
    if request.method == "POST":
        return press(
            lambda: export_service.request(by=by),
            message="Your copy is being made. A mail tells you when it is ready.",
            back=url_for("own_data.export"),
        )
    copy = export_service.find(by.user_id)
    return render_template("account/export.html", copy=copy, life=export_service.life().days)


@bp.get("/export/file")
@allow(fresh(signed_in))
def download() -> Response:
    """Fetch the copy."""
    return json_file(export_service.download(by=signed_in_visitor()), "export")


@bp.route("/export/download", methods=["GET", "POST"])
@allow(anyone)
@by_link(LinkPurpose.DOWNLOAD_EXPORT)
def download_by_link(link: LinkOut | None) -> Response:
    """Fetch the copy by the link in the mail, once."""
    form = Form(TokenIn)
    if form.submit(lambda data: export_service.download_by_link(data.token)):
        return json_file(form.result, "export")
    return form.render("account/download.html", token=needed(link).token, email=needed(link).email)


@bp.errorhandler(LinkExpired)
def link_expired(error: LinkExpired) -> Response:
    """A used, replaced or old link says so on a page that offers what comes next."""
    purpose = PURPOSES[request.endpoint or ""]
    links.forget(purpose)
    if wants_json():
        return answer(error)
    return Response(render_template("auth/link_expired.html", purpose=purpose), 410, mimetype="text/html")
