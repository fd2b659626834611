"""The second step of one's own account: an authenticator app, recovery codes, passkeys."""

from uuid import UUID

from flask import Blueprint, Response, current_app, render_template, url_for

from blueprints.http import access
from blueprints.http.access import allow, enrolling, fresh, signed_in, signed_in_visitor
from blueprints.http.button import Pressed, press
from blueprints.http.errors import wants_json
from blueprints.http.form import Form, done, told
from blueprints.http.redirects import see_other
from services import factor_service, passkey_service
from services.device import device_name
from services.errors import UnsupportedMediaType
from services.origin import origin
from services.principal import Principal
from services.schemas.passkey import PasskeyIn, PasskeyNameIn
from services.schemas.second_factor import CodeIn, RecoveryCodesOut

bp = Blueprint("security", __name__, url_prefix="/account/security")

FORM = ["GET", "POST"]
OVERVIEW = "account.security"


@bp.route("/app", methods=FORM)
@allow(fresh(enrolling))
def app() -> Response:
    """Set up an authenticator app: scan, then confirm with its first code."""
    by = signed_in_visitor()
    form = Form(CodeIn)
    if form.submit(lambda data: factor_service.confirm_totp(data.code, by=by)):
        return _recovery_codes(form.result, by)
    if factor_service.overview(by=by).has_app:
        return see_other(url_for(OVERVIEW))
    return form.render("account/security_app.html", enrolment=factor_service.pending_totp(by=by))


@bp.post("/app/start")
@allow(fresh(enrolling))
def start_app() -> Response:
    """Make the key that the app needs; it counts once it is confirmed."""
    by = signed_in_visitor()
    return press(
        lambda: factor_service.enrol_totp(by=by),
        message="Here is your key. Codes are on once you have entered the first one.",
        back=url_for("security.app"),
    )


@bp.route("/app/off", methods=FORM)
@allow(fresh(signed_in))
def app_off() -> Response:
    """Stop asking for codes of the app, after one last code."""
    by = signed_in_visitor()
    form = Form(CodeIn)
    if form.submit(lambda data: factor_service.remove_totp(data.code, by=by)):
        access.change_cookie(by)
        return told(url_for(OVERVIEW), message="Codes are off. Your other devices are signed out.")
    return form.render("account/security_app_off.html", overview=factor_service.overview(by=by))


@bp.route("/recovery-codes", methods=FORM)
@allow(fresh(signed_in))
def recovery_codes() -> Response:
    """Make ten new recovery codes; the former ones stop working."""
    by = signed_in_visitor()
    overview = factor_service.overview(by=by)
    if not overview.has_second_step:
        return see_other(url_for(OVERVIEW))
    form = Form(Pressed)
    if form.submit(lambda _: factor_service.new_recovery_codes(by=by)):
        return _recovery_codes(form.result, by)
    return form.render("account/recovery_codes_new.html", overview=overview)


@bp.post("/passkeys/options")
@allow(fresh(enrolling))
def passkey_options() -> Response:
    """What the browser needs to make a passkey; for the script of the page."""
    if not wants_json():
        raise UnsupportedMediaType
    by = signed_in_visitor()
    form = Form(Pressed)
    form.submit(lambda _: factor_service.begin_passkey(by=by))
    return done("", data=lambda: form.result, message="Make the passkey with these options.")


@bp.route("/passkeys/new", methods=FORM)
@allow(fresh(enrolling))
def new_passkey() -> Response:
    """Add a passkey."""
    by = signed_in_visitor()
    form = Form(PasskeyIn, name=device_name(origin().user_agent))
    if form.submit(lambda data: factor_service.add_passkey(data, by=by)):
        if form.result.recovery_codes:
            return _recovery_codes(form.result.recovery_codes, by)
        access.change_cookie(by)
        return told(url_for(OVERVIEW), message="The passkey is added. Your other devices are signed out.")
    return form.render("account/passkey_new.html", is_possible=passkey_service.is_possible())


@bp.route("/passkeys/<uuid:passkey_id>", methods=FORM)
@allow(fresh(signed_in))
def passkey(passkey_id: UUID) -> Response:
    """Give a passkey another name."""
    by = signed_in_visitor()
    kept = passkey_service.get(passkey_id, user_id=by.user_id)
    form = Form(PasskeyNameIn, name=kept.name)
    if form.submit(lambda data: factor_service.rename_passkey(passkey_id, data.name, by=by)):
        return told(url_for(OVERVIEW), data=lambda: form.result, message="The passkey has its new name.")
    return form.render("account/passkey.html", passkey=kept)


@bp.route("/passkeys/<uuid:passkey_id>/remove", methods=FORM)
@allow(fresh(signed_in))
def remove_passkey(passkey_id: UUID) -> Response:
    """Remove a passkey, after asking once."""
    by = signed_in_visitor()
    kept = passkey_service.get(passkey_id, user_id=by.user_id)
    form = Form(Pressed)
    if form.submit(lambda _: factor_service.remove_passkey(passkey_id, by=by)):
        access.change_cookie(by)
        return told(url_for(OVERVIEW), message="The passkey is removed. Your other devices are signed out.")
    return form.render("account/passkey_remove.html", passkey=kept, overview=factor_service.overview(by=by))


def _recovery_codes(codes: list[str], by: Principal) -> Response:
    """Ten codes on the page that answers the form: shown this once, so there is no address to come back to."""
    access.change_cookie(by)
    if wants_json():
        return done("", data=lambda: RecoveryCodesOut(recovery_codes=codes), message="Keep these codes.")
    file = "\n".join([f"Recovery codes of {by.email} at {current_app.config['APP_NAME']}", "", *codes, ""])
    page = render_template("account/recovery_codes.html", codes=codes, file=file)
    return Response(page, mimetype="text/html")
