"""Signing in with an issuer: the way there and back, and the accounts elsewhere that open one's own."""

from collections.abc import Mapping
from uuid import UUID

from flask import (
    Blueprint,
    Response,
    current_app,
    flash,
    render_template,
    request,
    session,
    url_for,
)
from werkzeug.exceptions import MethodNotAllowed

from blueprints.http import access
from blueprints.http.access import (
    allow,
    anyone,
    enrolling,
    fresh,
    signed_in,
    signed_in_visitor,
    visitor,
)
from blueprints.http.button import press
from blueprints.http.csrf import is_ours
from blueprints.http.errors import answer, status_of, wants_json
from blueprints.http.redirects import own_path, see_other
from blueprints.http.units import opens_units
from blueprints.http.waiting import wait_for_second_step
from services import identity_service, issuer_service, oidc_service, sign_in_service
from services.base_service import reading, unit_of_work
from services.errors import (
    DomainError,
    IdentityTaken,
    IssuerAnswerRefused,
    SignInRefused,
    StepLost,
)
from services.issuer_tokens import Shown
from services.oidc_service import Asked, Intent, WayOut
from services.principal import Principal
from services.schemas.second_factor import SecondFactorRequiredOut

bp = Blueprint("oidc", __name__)

#: The ways out that this browser has not come back from; a few, for people with several tabs.
WAYS_OUT = "ways_out"
MOST_WAYS_OUT = 4


@bp.route("/auth/oidc/start", methods=["GET", "POST"])
@opens_units
@allow(anyone)
def start() -> Response | str:
    """Go to the issuer to sign in; ask first whoever was sent here by another site or a picture."""
    next_url = own_path(request.values.get("next"))
    if not _came_by_own_hand():
        issuer_service.issuer()
        return render_template("auth/issuer.html", url=url_for("oidc.start", next=next_url or None))
    with unit_of_work():
        way_out = oidc_service.start(Intent.SIGN_IN, next_url=next_url)
    return _leave(way_out)


@bp.route("/auth/oidc/confirm", methods=["GET"])
@opens_units
@allow(enrolling)
def confirm() -> Response | str:
    """Go to the issuer to show again who you are."""
    next_url = own_path(request.args.get("next"))
    if not _came_by_own_hand():
        issuer_service.issuer()
        return render_template("auth/issuer.html", url=url_for("oidc.confirm", next=next_url or None))
    with unit_of_work():
        way_out = oidc_service.start(Intent.CONFIRM, by=signed_in_visitor(), next_url=next_url)
    return _leave(way_out)


@bp.get("/auth/oidc/callback")
@opens_units
@allow(anyone)
def callback() -> Response:
    """Come back from the issuer: signed in, connected, or confirmed."""
    if request.method != "GET":
        raise MethodNotAllowed(valid_methods=["GET"])
    told = _single_values()
    with unit_of_work():
        asked = oidc_service.take_up(session.get(WAYS_OUT, []), told.get("state", ""))
        session[WAYS_OUT] = [token for token in session[WAYS_OUT] if token != asked.token]
        by = _same_session(asked)
    with unit_of_work():
        shown = oidc_service.redeem(asked, told)
        if shown is None:
            flash("You were not signed in." if by is None else "Nothing was changed.", "warning")
            return _to(url_for("auth.login" if by is None else "oidc.connected"))
        if by is None:
            return _sign_in(asked, shown)
        return _link(shown, by) if asked.intent is Intent.LINK else _confirm(asked, shown, by)


@bp.get("/account/connected")
@allow(signed_in)
def connected() -> str:
    """The accounts elsewhere that open yours."""
    issuer_service.issuer()
    by = signed_in_visitor()
    return render_template(
        "account/connected.html",
        identities=identity_service.list_of(by.user_id),
        current_issuer=current_app.config["OIDC_ISSUER"],
        has_password=identity_service.ways_to_confirm(by)[0],
    )


@bp.post("/account/connected/link")
@allow(fresh(signed_in))
def link() -> Response:
    """Go to the issuer to connect an account there with yours."""
    way_out = oidc_service.start(Intent.LINK, by=signed_in_visitor())
    _keep(way_out)
    # A page, not a redirect: browsers apply our policy for forms to all the redirects that follow one.
    response = Response(render_template("auth/issuer.html", url=way_out.url, leaving=True))
    response.headers["Refresh"] = f"0; url={way_out.url}"
    return response


@bp.post("/account/connected/<uuid:identity_id>/unlink")
@allow(fresh(signed_in))
def unlink(identity_id: UUID) -> Response:
    """Disconnect an account elsewhere from yours."""
    by = signed_in_visitor()
    return press(
        lambda: identity_service.unlink(identity_id, by=by),
        message="It is disconnected. Your other devices are signed out.",
        back=url_for("oidc.connected"),
    )


@bp.errorhandler(StepLost)
@bp.errorhandler(IssuerAnswerRefused)
@bp.errorhandler(SignInRefused)
@bp.errorhandler(IdentityTaken)
def refused(error: DomainError) -> Response:
    """What went wrong on the way back, and the way to start again."""
    if wants_json():
        return answer(error)
    with reading():
        page = render_template("auth/issuer_refused.html", error=error)
    return Response(page, status=status_of(error), mimetype="text/html")


def _sign_in(asked: Asked, shown: Shown) -> Response:
    result = sign_in_service.by_issuer(shown)
    if isinstance(result, SecondFactorRequiredOut):
        wait_for_second_step(result, email=shown.email or "", next_url=asked.next_url)
        return _to(url_for("auth.second_factor"))
    access.sign_in(result.token, result.principal)
    return _to(asked.next_url or url_for("main.dashboard"))


def _link(shown: Shown, by: Principal) -> Response:
    identity_service.link(shown, by=by)
    flash("It is connected. You can sign in with it from now on.", "success")
    return _to(url_for("oidc.connected"))


def _confirm(asked: Asked, shown: Shown, by: Principal) -> Response:
    access.sign_in(identity_service.confirm(shown, by=by), by)
    return _to(asked.next_url or url_for("account.profile"))


def _same_session(asked: Asked) -> Principal | None:
    """Who is signed in, where the way out began in a session: it must be that one still. Raises StepLost."""
    if asked.intent is Intent.SIGN_IN:
        return None
    by = visitor()
    if by is None or by.session_id != asked.session_id:
        raise StepLost
    return by


def _single_values() -> Mapping[str, str]:
    """The answer's parameters. Raises StepLost when one is there twice (RFC 6749 section 3.1)."""
    if any(len(values) > 1 for _, values in request.args.lists()):
        raise StepLost
    return request.args.to_dict()


def _came_by_own_hand() -> bool:
    """Whether a person asked for this page here: no other site's link, no picture, no prefetch (ASVS 7.6.2)."""
    if request.method == "POST":
        return True  # with the form's token
    if request.method != "GET" or "Sec-Purpose" in request.headers:
        return False
    if request.headers.get("Sec-Fetch-Dest", "document") != "document":
        return False
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in {"same-origin", "none"}
    referrer = request.headers.get("Referer")  # of browsers that are too old to tell more
    return referrer is None or is_ours("/".join(referrer.split("/", 3)[:3]))


def _leave(way_out: WayOut) -> Response:
    _keep(way_out)
    return _to(way_out.url)


def _keep(way_out: WayOut) -> None:
    session[WAYS_OUT] = [*session.get(WAYS_OUT, []), way_out.token][-MOST_WAYS_OUT:]


def _to(location: str) -> Response:
    return see_other(location)
