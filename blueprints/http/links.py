"""Mailed links: the token leaves the address at once, opening changes nothing, and only the button acts (ASVS 14.2.1).

The first GET, with `?token=`, puts the token into the signed cookie and goes on to the same address without it. So it
stands in no history, no log of a proxy, and no Referer. The page carries it in a hidden field.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Response, current_app, request, session

from blueprints.http.access import LINK, visitor
from blueprints.http.redirects import see_other
from services import auth_service
from services.errors import LinkExpired
from services.schemas.auth import LinkOut, LinkPurpose

View = Callable[..., Any]


def by_link(purpose: LinkPurpose) -> Callable[[View], View]:
    """Give the view the link it was opened by as `link`, or None when there is none. Raises LinkExpired.

    For programs, which send the token in their JSON, `link` is None too.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def opened(**given: Any) -> Any:
            if request.method == "POST":
                return _act(purpose, view, given)
            token = request.args.get("token", "")
            if token and _comes_back():
                auth_service.look_at_link(token, purpose, by=None)  # whose it is, the page without it tells
                session[_key(purpose)] = token
                return see_other(request.path)
            link = _look(token or session.get(_key(purpose), ""), purpose)
            return view(link=link, **given)

        return opened

    return decorate


def needed(link: LinkOut | None) -> LinkOut:
    """The link, for a page that is nothing without one. Raises LinkExpired."""
    if link is None:
        raise LinkExpired
    return link


def forget(purpose: LinkPurpose) -> None:
    """Take a link that is used or dead out of the cookie."""
    session.pop(_key(purpose), None)


def _act(purpose: LinkPurpose, view: View, given: dict[str, Any]) -> Any:
    link = _look(request.form.get("token", ""), purpose)
    response: Response = view(link=link, **given)
    if response.status_code < 400:
        forget(purpose)
    return response


def _look(token: str, purpose: LinkPurpose) -> LinkOut | None:
    return auth_service.look_at_link(token, purpose, by=visitor()) if token else None


def _comes_back() -> bool:
    """Whether the browser will show the cookie on the way from a mail: with SameSite=Strict it does not."""
    return bool(current_app.config["SESSION_COOKIE_SAMESITE"] != "Strict")


def _key(purpose: LinkPurpose) -> str:
    return f"{LINK}{purpose}"
