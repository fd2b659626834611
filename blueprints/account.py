"""One's own account: name, address, password, devices, history."""

from uuid import UUID

from flask import Blueprint, Response, flash, render_template, request, url_for

from blueprints.http import access
from blueprints.http.access import allow, enrolling, even_impersonated, signed_in, signed_in_visitor
from blueprints.http.button import press
from blueprints.http.errors import answer, wants_json
from blueprints.http.filters import Filters
from blueprints.http.form import Form, told
from blueprints.http.pagination import Pagination
from blueprints.http.redirects import see_other
from blueprints.http.units import opens_units
from blueprints.http.upload import sent_file, takes_up_to
from services import (
    audit_service,
    auth_service,
    factor_service,
    identity_service,
    link_service,
    passkey_service,
    picture_service,
    recovery_service,
    session_service,
    user_service,
)
from services.errors import PayloadTooLarge
from services.schemas.audit import OwnEventQuery
from services.schemas.auth import ChangeEmailIn, ChangePasswordIn
from services.schemas.user import ProfileIn, UserOut

bp = Blueprint("account", __name__, url_prefix="/account")


@bp.route("/profile", methods=["GET", "POST"])
@allow(even_impersonated(signed_in))
def profile() -> Response:
    """Who you are here; the name can be changed."""
    by = signed_in_visitor()
    user = user_service.get(by.user_id, by=by)
    form = Form(ProfileIn, name=user.name)
    if form.submit(lambda data: user_service.rename(data.name, by=by)):
        return told(
            url_for("account.profile"),
            data=lambda: UserOut.model_validate(form.result),
            message="Your name is saved.",
        )
    return form.render("account/profile.html", user=user)


@bp.post("/picture")
@opens_units
@allow(even_impersonated(signed_in))
@takes_up_to(picture_service.MOST_BYTES)
def picture() -> Response:
    """Set the picture."""
    by = signed_in_visitor()
    return press(
        lambda: picture_service.replace(lambda: sent_file("picture"), by=by),
        message="Your picture is saved.",
        back=url_for("account.profile"),
    )


@bp.errorhandler(PayloadTooLarge)
def too_large(error: PayloadTooLarge) -> Response:
    """A picture that is too large says so on its page, where a smaller one can be chosen."""
    if wants_json() or request.endpoint != "account.picture":
        return answer(error)
    flash("This picture is larger than 5 MB. Choose a smaller one.", "danger")
    return see_other(url_for("account.profile"))


@bp.post("/picture/remove")
@allow(even_impersonated(signed_in))
def remove_picture() -> Response:
    """Have no picture."""
    by = signed_in_visitor()
    return press(
        lambda: picture_service.remove(by=by),
        message="Your picture is removed.",
        back=url_for("account.profile"),
    )


@bp.route("/email", methods=["GET", "POST"])
@allow(signed_in)
def email() -> Response:
    """Ask for another address; a link mailed there makes it yours."""
    by = signed_in_visitor()
    form = Form(ChangeEmailIn)
    if form.submit(lambda data: auth_service.request_email_change(data, by=by)):
        return told(url_for("account.email"), message="A mail to the new address is on its way.", status=202)
    return form.render(
        "account/email.html",
        user=user_service.get(by.user_id, by=by),
        pending=link_service.pending_address(by.user_id) or "",
    )


@bp.route("/password", methods=["GET", "POST"])
@allow(signed_in)
def password() -> Response:
    """Change the password: your other sessions end, and this one gets a new key."""
    by = signed_in_visitor()
    form = Form(ChangePasswordIn)
    if form.submit(lambda data: auth_service.change_password(data, by=by)):
        access.sign_in(form.result, by)
        return told(
            url_for("account.password"),
            message="Your password is changed. Your other devices are signed out.",
        )
    return form.render("account/password.html", has_password=identity_service.ways_to_confirm(by)[0])


@bp.get("/security")
@allow(enrolling)
def security() -> str:
    """How you sign in, and who else might: the second step, recovery codes, passkeys."""
    return render_template(
        "account/security.html",
        overview=factor_service.overview(by=signed_in_visitor()),
        few=recovery_service.FEW,
        has_passkeys=passkey_service.is_possible(),
    )


@bp.get("/devices")
@allow(signed_in)
def devices() -> str:
    """Where you are signed in, this device first."""
    by = signed_in_visitor()
    sessions = session_service.list_of(by.user_id, current=by.session_id)
    return render_template("account/devices.html", sessions=sorted(sessions, key=lambda row: not row.current))


@bp.post("/devices/<uuid:session_id>/end")
@allow(signed_in)
def end_device(session_id: UUID) -> Response:
    """Sign one device out."""
    by = signed_in_visitor()
    return press(
        lambda: session_service.end(session_id, user_id=by.user_id, by=by),
        message="The device is signed out.",
        back=url_for("account.devices"),
    )


@bp.post("/devices/end-others")
@allow(signed_in)
def end_other_devices() -> Response:
    """Sign every device out but this one."""
    by = signed_in_visitor()
    return press(
        lambda: session_service.end_others(by.user_id, keep=by.session_id, by=by),
        message="Your other devices are signed out.",
        back=url_for("account.devices"),
    )


@bp.get("/history")
@allow(even_impersonated(signed_in))
def history() -> str:
    """What happened to your account, newest first."""
    by = signed_in_visitor()
    listing = Filters(OwnEventQuery, {}, cursor="", per_page="20").listing(
        lambda query: audit_service.own_page(by.user_id, query)
    )
    return render_template(
        "account/history.html",
        events=listing.rows,
        actions=audit_service.OWN_ACTIONS,
        pagination=Pagination(listing),
    )
