"""The doors of the pages: sign up, sign in and out, mailed links."""

from collections.abc import Callable, Mapping

from flask import Blueprint, Response, flash, render_template, request, session, url_for

from blueprints.http import access, confirming, links
from blueprints.http.access import (
    allow,
    anyone,
    enrolling,
    even_impersonated,
    signed_in,
    signed_in_visitor,
    to_login,
    visitor,
)
from blueprints.http.button import Pressed
from blueprints.http.errors import answer, wants_json
from blueprints.http.even import evenly
from blueprints.http.form import Form, done, told
from blueprints.http.links import by_link, needed
from blueprints.http.redirects import own_path, see_other
from blueprints.http.waiting import WAITING, wait_for_second_step
from services import (
    auth_service,
    factor_service,
    identity_service,
    registration_service,
    session_service,
    sign_in_service,
    user_service,
)
from services.errors import (
    EmailNotVerified,
    InvalidToken,
    LinkExpired,
    OtherAccount,
    RateLimited,
    UnsupportedMediaType,
)
from services.schemas.auth import (
    EmailIn,
    LinkOut,
    LinkPurpose,
    LoginIn,
    RegisterIn,
    ResetPasswordIn,
    SetupIn,
    SignedInHereOut,
    TokenIn,
    VerifyByCodeIn,
    VerifyHereByCodeIn,
    VerifyHereByLinkIn,
    VerifyHereIn,
)
from services.schemas.base import In
from services.schemas.passkey import PasskeyAnswerIn, PasskeyOptionsOut
from services.schemas.second_factor import (
    CodeIn,
    ReauthenticateByCodeIn,
    ReauthenticateByPasskeyIn,
    ReauthenticateByPasswordIn,
    ReauthenticateIn,
    RecoveryCodeIn,
    SecondFactorRequiredOut,
)
from services.schemas.user import UserOut

bp = Blueprint("auth", __name__, url_prefix="/auth")

FORM = ["GET", "POST"]
MAIL_IS_ON_ITS_WAY = "If this is possible, a mail is on its way."
#: Whether the browser forgets what it knows of us is the browser's choice; we ask for it (ASVS 14.3.1). Not for its
#: cookies: the session's is emptied by name, and the device's has to outlive the sign-out or no device is ever known.
CLEAR_SITE_DATA = '"cache", "storage"'
#: The address a mail was asked for, for the page that says so.
MAILED_TO = "mailed_to"
#: How a second step, and a confirmation, can be done: by the word in the address.
SECOND_STEPS: dict[str, type[In]] = {
    "code": CodeIn,
    "recovery-code": RecoveryCodeIn,
    "passkey": PasskeyAnswerIn,
}
CONFIRMATIONS: dict[str, type[In]] = {
    "password": ReauthenticateByPasswordIn,
    "code": ReauthenticateByCodeIn,
    "passkey": ReauthenticateByPasskeyIn,
}
PURPOSES = {
    "auth.verify_email": LinkPurpose.VERIFY_EMAIL,
    "auth.reset_password": LinkPurpose.RESET_PASSWORD,
    "auth.confirm_email": LinkPurpose.CHANGE_EMAIL,
    "auth.accept_invitation": LinkPurpose.INVITE,
    "auth.setup": LinkPurpose.SETUP_ADMIN,
}


@bp.route("/register", methods=FORM)
@evenly
@allow(anyone)
def register() -> Response:
    """Make an account. The answer is the same whether or not the address is known."""
    form = Form(RegisterIn)
    if form.submit(registration_service.register):
        access.keep_device()  # where the link is pressed without further questions
        session[MAILED_TO] = form["email"].value
        return done(url_for("auth.check_mail"), message=MAIL_IS_ON_ITS_WAY, status=202)
    return form.render("auth/register.html")


@bp.get("/check-mail")
@allow(anyone)
def check_mail() -> Response:
    """Where the mail went, and a field for the code in it."""
    if MAILED_TO not in session:
        return see_other(url_for("auth.request_verification"))
    return Form(VerifyByCodeIn).render("auth/check_mail.html", email=session[MAILED_TO])


@bp.route("/login", methods=FORM)
@allow(anyone)
def login() -> Response:
    """Sign in with address and password."""
    form = Form(LoginIn, email=session.get(MAILED_TO))
    next_url = own_path(request.values.get("next"))
    if form.submit(sign_in_service.browser):
        if isinstance(form.result, SecondFactorRequiredOut):
            return _to_second_step(form.result, form, next_url)
        access.sign_in(form.result.token, form.result.principal)
        return done(next_url or url_for("main.dashboard"), data=_signed_in, message="Signed in.")
    is_unverified = isinstance(form.error, EmailNotVerified)
    if is_unverified:
        session[MAILED_TO] = form["email"].value
    return form.render(
        "auth/login.html",
        next_url=next_url,
        offer_verification=is_unverified,
        has_to_wait=isinstance(form.error, RateLimited),
    )


@bp.post("/passkey/options")
@allow(anyone)
def passkey_options() -> Response:
    """What the browser needs to sign in with a passkey alone; for the script of the page."""
    return _options(sign_in_service.browser_passkey_options)


@bp.route("/passkey", methods=FORM)
@allow(anyone)
def passkey() -> Response:
    """Sign in with a passkey alone."""
    form = Form(PasskeyAnswerIn)
    next_url = own_path(request.values.get("next"))
    if form.submit(sign_in_service.browser_by_passkey):
        access.sign_in(form.result.token, form.result.principal)
        return done(next_url or url_for("main.dashboard"), data=_signed_in, message="Signed in.")
    return form.render("auth/passkey.html", next_url=next_url)


@bp.post("/second-factor/options")
@allow(anyone)
def second_factor_options() -> Response:
    """What the browser needs to do the second step with a passkey; for the script of the page."""
    waiting = session.get(WAITING)
    if waiting is None:
        raise InvalidToken
    return _options(lambda: sign_in_service.browser_passkey_step_options(waiting["token"]))


@bp.route("/second-factor", methods=FORM)
@allow(anyone)
def second_factor() -> Response:
    """Finish a sign-in with a code of the app, with a passkey, or with a recovery code."""
    waiting = session.get(WAITING)
    if waiting is None:
        return see_other(url_for("auth.login"))
    way = _way("code" if "totp" in waiting["methods"] else "passkey", SECOND_STEPS)
    form = Form(SECOND_STEPS[way])
    if form.submit(lambda data: sign_in_service.browser_second_step(waiting["token"], data)):
        access.sign_in(form.result.token, form.result.principal)
        return done(waiting["next"] or url_for("main.dashboard"), data=_signed_in, message="Signed in.")
    if isinstance(form.error, InvalidToken):
        session.pop(WAITING)
        flash("That took too long, or too many tries. Start again.", "danger")
        return see_other(url_for("auth.login"))
    return form.render("auth/second_factor.html", way=way, methods=waiting["methods"], email=waiting["email"])


@bp.post("/reauthenticate/options")
@allow(enrolling)
def reauthentication_options() -> Response:
    """What the browser needs to show again who you are with a passkey; for the script of the page."""
    by = signed_in_visitor()
    return _options(lambda: sign_in_service.reauthentication_options(by=by))


@bp.route("/reauthenticate", methods=FORM)
@allow(enrolling)
def reauthenticate() -> Response:
    """Show again who you are, before something sensitive."""
    by = signed_in_visitor()
    methods = factor_service.methods(by.user_id)
    way = _way("password", CONFIRMATIONS)
    form = Form(CONFIRMATIONS[way])
    next_url = own_path(request.values.get("next"))
    if form.submit(lambda data: sign_in_service.reauthenticate(data, by=by), programs=ReauthenticateIn):
        access.sign_in(form.result, by)
        return done(next_url or url_for("account.profile"), message="Confirmed for ten minutes.")
    has_password, at_issuer = identity_service.ways_to_confirm(by)
    return form.render(
        "auth/reauthenticate.html",
        way=way,
        methods=methods,
        has_password=has_password,
        at_issuer=at_issuer,
        next_url=next_url,
    )


@bp.route("/logout", methods=FORM)
@allow(even_impersonated(anyone))
def logout() -> Response | str:
    """Ask, then end this session; the browser is told to forget what it kept."""
    if request.method != "POST":
        return render_template("auth/logout.html")
    if by := visitor():
        session_service.log_out(by)
    access.sign_out()
    response = done(url_for("main.home"), message="Signed out.")
    response.headers["Clear-Site-Data"] = CLEAR_SITE_DATA
    return response


@bp.get("/profile")
@allow(even_impersonated(signed_in))
def profile() -> Response:
    """The account that is signed in: as JSON for programs, on its page for people."""
    return done(url_for("account.profile"), data=_me, message="OK")


@bp.route("/verify-email", methods=FORM)
@evenly
@allow(anyone)
@by_link(LinkPurpose.VERIFY_EMAIL)
def verify_email(link: LinkOut | None) -> Response:
    """Confirm an address, by the button of a mailed link or by its typed code."""
    form = confirming.form_of(link)
    if form.submit(_verify, programs=VerifyHereIn):
        return told(_onward(), message="Your address is confirmed.")
    return (confirming.after_code(form) or form).render("auth/verify_email.html", link=link)


@bp.route("/verify-email/request", methods=FORM)
@evenly
@allow(anyone)
def request_verification() -> Response:
    """Ask for another mail that confirms the address."""
    form = Form(EmailIn, email=session.get(MAILED_TO))
    if form.submit(lambda data: registration_service.request_verification(data.email)):
        access.keep_device()
        session[MAILED_TO] = form["email"].value
        return done(url_for("auth.check_mail"), message=MAIL_IS_ON_ITS_WAY, status=202)
    return form.render("auth/request_verification.html")


@bp.route("/forgot-password", methods=FORM)
@evenly
@allow(anyone)
def forgot_password() -> Response:
    """Ask for a link that sets a new password. The answer is the same whether or not there is such an account."""
    form = Form(EmailIn)
    if form.submit(lambda data: auth_service.request_reset(data.email)):
        session[MAILED_TO] = form["email"].value
        return done(url_for("auth.forgot_password_sent"), message=MAIL_IS_ON_ITS_WAY, status=202)
    return form.render("auth/forgot_password.html")


@bp.get("/forgot-password/sent")
@allow(anyone)
def forgot_password_sent() -> Response | str:
    """Where the link went, if there is such an account."""
    if MAILED_TO not in session:
        return see_other(url_for("auth.forgot_password"))
    return render_template("auth/forgot_password_sent.html", email=session[MAILED_TO])


@bp.route("/reset-password", methods=FORM)
@allow(anyone)
@by_link(LinkPurpose.RESET_PASSWORD)
def reset_password(link: LinkOut | None) -> Response:
    """Set a new password by a mailed link: every session ends, nobody is signed in."""
    form = Form(ResetPasswordIn)
    if form.submit(auth_service.reset_password):
        access.keep_device()
        return told(url_for("auth.login"), message="Your new password is saved. Sign in with it.")
    return form.render("auth/reset_password.html", token=needed(link).token)


@bp.route("/confirm-email", methods=FORM)
@allow(anyone)
@by_link(LinkPurpose.CHANGE_EMAIL)
def confirm_email(link: LinkOut | None) -> Response:
    """Make a new address the account's, by the link mailed to it."""
    if request.method != "POST" and link and not visitor():
        flash("Sign in to the account that asked for the new address.", "warning")
        return to_login()
    form = Form(TokenIn)
    if form.submit(lambda data: auth_service.confirm_email_change(data.token, by=visitor())):
        return told(_onward(), message="The new address is yours. You sign in with it from now on.")
    return form.render("auth/confirm_email.html", token=needed(link).token, email=needed(link).email)


@bp.route("/invitation", methods=FORM)
@allow(anyone)
@by_link(LinkPurpose.INVITE)
def accept_invitation(link: LinkOut | None) -> Response:
    """Set the first password by an invitation's link."""
    form = Form(ResetPasswordIn)
    if form.submit(auth_service.accept_invitation):
        access.keep_device()
        return told(url_for("auth.login"), message="Your account is ready. Sign in with your new password.")
    return form.render("auth/accept_invitation.html", **needed(link).model_dump())


@bp.route("/setup", methods=FORM)
@allow(anyone)
@by_link(LinkPurpose.SETUP_ADMIN)
def setup(link: LinkOut | None) -> Response:
    """Make the first administrator, by the link that the start prints."""
    form = Form(SetupIn)
    if form.submit(auth_service.set_up):
        access.sign_in(*form.result)
        return done(url_for("main.dashboard"), data=_signed_in, message="Signed in.")
    return form.render("auth/setup.html", token=needed(link).token)


@bp.errorhandler(LinkExpired)
def link_expired(error: LinkExpired) -> Response:
    """A used, replaced or old link says so on a page that offers the next one."""
    purpose = PURPOSES[request.endpoint or ""]
    links.forget(purpose)
    if wants_json():
        return answer(error)
    return Response(render_template("auth/link_expired.html", purpose=purpose), 410, mimetype="text/html")


@bp.errorhandler(OtherAccount)
def other_account(error: OtherAccount) -> Response:
    """Somebody else's link says so on a page that offers to sign out; the link stays good."""
    if wants_json():
        return answer(error)
    return Response(render_template("auth/other_account.html"), 403, mimetype="text/html")


def _way(usual: str, ways: Mapping[str, object]) -> str:
    """Which of the ways the address asks for; the usual one when it asks for none that there is."""
    asked = request.args.get("with", usual)
    return asked if asked in ways else usual


def _options(begin: Callable[[], PasskeyOptionsOut]) -> Response:
    if not wants_json():
        raise UnsupportedMediaType
    form = Form(Pressed)
    form.submit(lambda _: begin())
    return done("", data=lambda: form.result, message="Ask the passkey with these options.")


def _to_second_step(required: SecondFactorRequiredOut, form: Form, next_url: str | None) -> Response:
    wait_for_second_step(required, email=form["email"].value, next_url=next_url)
    return done(url_for("auth.second_factor"), data=lambda: required, message="A second step is needed.")


def _verify(data: VerifyHereByLinkIn | VerifyHereByCodeIn) -> None:
    """Confirm; a session that ends with it is over in this browser as well."""
    if registration_service.verify_email(data, by=visitor()):
        access.sign_out()
    access.keep_device()


def _onward() -> str:
    """To the dashboard for whoever is signed in, to the form for others."""
    return url_for("main.dashboard" if visitor() else "auth.login")


def _me() -> UserOut:
    by = signed_in_visitor()
    return UserOut.model_validate(user_service.get(by.user_id, by=by))


def _signed_in() -> SignedInHereOut:
    return SignedInHereOut(status="signed_in", user=_me())
