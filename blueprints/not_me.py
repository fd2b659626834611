""" "This was not me": the page behind the link in every security mail."""

from flask import Blueprint, Response, render_template, session, url_for

from blueprints.http import links
from blueprints.http.access import allow, anyone
from blueprints.http.errors import answer, wants_json
from blueprints.http.form import Form, done
from blueprints.http.links import by_link, needed
from blueprints.http.redirects import see_other
from services import not_me_service
from services.errors import LinkExpired
from services.link_service import NOT_ME_LIFE
from services.schemas.auth import LinkOut, LinkPurpose, TokenIn

bp = Blueprint("not_me", __name__, url_prefix="/auth/not-me")

#: What was done, for the page that says so.
DONE = "not_me"


@bp.route("", methods=["GET", "POST"])
@allow(anyone)
@by_link(LinkPurpose.NOT_ME)
def index(link: LinkOut | None) -> Response:
    """Say what will happen; the button ends every session, shuts the account and mails a link to a new password."""
    form = Form(TokenIn)
    if form.submit(lambda data: not_me_service.act(data.token)):
        session[DONE] = form.result.model_dump()
        return done(
            url_for("not_me.finished"),
            data=lambda: form.result,
            message="Everybody is signed out, and the account is shut until its password is reset by mail.",
        )
    token = needed(link).token
    ahead = not_me_service.look_ahead(token)
    return form.render("auth/not_me.html", token=token, ahead=ahead, days=NOT_ME_LIFE.days)


@bp.get("/done")
@allow(anyone)
def finished() -> Response | str:
    """What was done, and what to do next."""
    if DONE not in session:
        return see_other(url_for("auth.forgot_password"))
    return render_template("auth/not_me_done.html", outcome=session[DONE], days=NOT_ME_LIFE.days)


@bp.errorhandler(LinkExpired)
def link_expired(error: LinkExpired) -> Response:
    """A used or old link says so on a page that offers what comes next."""
    links.forget(LinkPurpose.NOT_ME)
    if wants_json():
        return answer(error)
    page = render_template("auth/link_expired.html", purpose=LinkPurpose.NOT_ME)
    return Response(page, 410, mimetype="text/html")
