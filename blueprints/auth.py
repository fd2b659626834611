"""The doors of the pages: sign up, sign in and out, mailed links."""

from flask import Blueprint, Response, redirect, render_template, request, session, url_for

from blueprints.http import access, links
from blueprints.http.access import allow, anyone, signed_in, signed_in_visitor, visitor
from blueprints.http.errors import answer, wants_json
from blueprints.http.form import Form, done, told
from blueprints.http.links import by_link, needed
from blueprints.http.redirects import own_path
from services import auth_service, session_service, user_service
from services.errors import EmailNotVerified, LinkExpired
from services.schemas.auth import (
    EmailIn,
    LinkOut,
    LinkPurpose,
    LoginIn,
    RegisterIn,
    ResetPasswordIn,
    SetupIn,
    SignedInHereOut,
    VerifyByCodeIn,
    VerifyByLinkIn,
    VerifyIn,
)
from services.schemas.user import UserOut

bp = Blueprint("auth", __name__, url_prefix="/auth")

FORM = ["GET", "POST"]
MAIL_IS_ON_ITS_WAY = "If this is possible, a mail is on its way."
#: Whether the browser forgets what it knows of us is the browser's choice; we ask for all of it (ASVS 14.3.1).
CLEAR_SITE_DATA = '"cache", "cookies", "storage"'
#: The address a mail was asked for, for the page that says so.
MAILED_TO = "mailed_to"
PURPOSES = {
    "auth.verify_email": LinkPurpose.VERIFY_EMAIL,
    "auth.reset_password": LinkPurpose.RESET_PASSWORD,
    "auth.confirm_email": LinkPurpose.CHANGE_EMAIL,
    "auth.accept_invitation": LinkPurpose.INVITE,
    "auth.setup": LinkPurpose.SETUP_ADMIN,
}


@bp.route("/register", methods=FORM)
@allow(anyone)
def register() -> Response:
    """Make an account. The answer is the same whether or not the address is known."""
    form = Form(RegisterIn)
    if form.submit(auth_service.register):
        session[MAILED_TO] = form["email"].value
        return done(url_for("auth.check_mail"), message=MAIL_IS_ON_ITS_WAY, status=202)
    return form.render("auth/register.html")


@bp.get("/check-mail")
@allow(anyone)
def check_mail() -> Response:
    """Where the mail went, and a field for the code in it."""
    if MAILED_TO not in session:
        return redirect(url_for("auth.request_verification"), 303)  # type: ignore[return-value]  # Werkzeug's answer
    return Form(VerifyByCodeIn).render("auth/check_mail.html", email=session[MAILED_TO])


@bp.route("/login", methods=FORM)
@allow(anyone)
def login() -> Response:
    """Sign in with address and password."""
    form = Form(LoginIn)
    next_url = own_path(request.values.get("next"))
    if form.submit(auth_service.sign_in_browser):
        access.sign_in(*form.result)
        return done(next_url or url_for("main.dashboard"), data=_signed_in, message="Signed in.")
    is_unverified = isinstance(form.error, EmailNotVerified)
    if is_unverified:
        session[MAILED_TO] = form["email"].value
    return form.render("auth/login.html", next_url=next_url, offer_verification=is_unverified)


@bp.route("/logout", methods=FORM)
@allow(anyone)
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
@allow(signed_in)
def profile() -> Response:
    """The account that is signed in: as JSON for programs, on its page for people."""
    return done(url_for("account.profile"), data=_me, message="OK")


@bp.route("/verify-email", methods=FORM)
@allow(anyone)
@by_link(LinkPurpose.VERIFY_EMAIL)
def verify_email(link: LinkOut | None) -> Response:
    """Confirm an address, by the button of a mailed link or by its typed code."""
    form = Form(VerifyByLinkIn if link else VerifyByCodeIn)
    if form.submit(auth_service.verify_email, programs=VerifyIn):
        return told(_onward(), message="Your address is confirmed.")
    return form.render("auth/verify_email.html", token=link.token if link else "")


@bp.route("/verify-email/request", methods=FORM)
@allow(anyone)
def request_verification() -> Response:
    """Ask for another mail that confirms the address."""
    form = Form(EmailIn, email=session.get(MAILED_TO))
    if form.submit(lambda data: auth_service.request_verification(data.email)):
        session[MAILED_TO] = form["email"].value
        return done(url_for("auth.check_mail"), message=MAIL_IS_ON_ITS_WAY, status=202)
    return form.render("auth/request_verification.html")


@bp.route("/forgot-password", methods=FORM)
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
        return redirect(url_for("auth.forgot_password"), 303)  # type: ignore[return-value]  # Werkzeug's answer
    return render_template("auth/forgot_password_sent.html", email=session[MAILED_TO])


@bp.route("/reset-password", methods=FORM)
@allow(anyone)
@by_link(LinkPurpose.RESET_PASSWORD)
def reset_password(link: LinkOut | None) -> Response:
    """Set a new password by a mailed link: every session ends, nobody is signed in."""
    form = Form(ResetPasswordIn)
    if form.submit(auth_service.reset_password):
        return told(url_for("auth.login"), message="Your new password is saved. Sign in with it.")
    return form.render("auth/reset_password.html", token=needed(link).token)


@bp.route("/confirm-email", methods=FORM)
@allow(anyone)
@by_link(LinkPurpose.CHANGE_EMAIL)
def confirm_email(link: LinkOut | None) -> Response:
    """Make a new address the account's, by the link mailed to it."""
    form = Form(VerifyByLinkIn)
    if form.submit(lambda data: auth_service.confirm_email_change(data.token)):
        return told(_onward(), message="The new address is yours. You sign in with it from now on.")
    return form.render("auth/confirm_email.html", token=needed(link).token, email=needed(link).email)


@bp.route("/invitation", methods=FORM)
@allow(anyone)
@by_link(LinkPurpose.INVITE)
def accept_invitation(link: LinkOut | None) -> Response:
    """Set the first password by an invitation's link."""
    form = Form(ResetPasswordIn)
    if form.submit(auth_service.accept_invitation):
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


def _onward() -> str:
    """To the dashboard for whoever is signed in, to the form for others."""
    return url_for("main.dashboard" if visitor() else "auth.login")


def _me() -> UserOut:
    by = signed_in_visitor()
    return UserOut.model_validate(user_service.get(by.user_id, by=by))


def _signed_in() -> SignedInHereOut:
    return SignedInHereOut(status="signed_in", user=_me())
