"""Who may: the access rules, `@allow` for pages, bearer tokens for the API, the Flask-Login loader, CSRF.

Cookies open pages, bearer tokens open /api/, never both.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import wraps
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from flask import Flask, Response, after_this_request, current_app, flash, request, session, url_for
from flask.sessions import SecureCookieSessionInterface, SessionMixin
from flask_login import current_user, login_user, logout_user

from blueprints.http.csrf import check_origin, is_ours
from blueprints.http.errors import wants_json
from blueprints.http.marks import mark
from blueprints.http.redirects import see_other
from extensions import csrf, login_manager
from services import (
    api_key_service,
    factor_service,
    identity_service,
    known_device_service,
    session_service,
    token_service,
)
from services.clock import now
from services.errors import (
    AccountFrozen,
    Forbidden,
    ImpersonationRefused,
    InvalidToken,
    NotAuthenticated,
    ReauthenticationRequired,
    SecondFactorRequired,
)
from services.origin import origin, set_device
from services.principal import Principal

View = TypeVar("View", bound=Callable[..., Any])
#: Header fields end at 8 kB; those of issuers that list groups come near.
LONGEST_BEARER = 8_000
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
NOT_GRANTED = "A key, or an issuer's token, changes only what one of its scopes names. Sign in for this."
#: In the cookie, for pages that can't ask the database: a time, and neither name nor token.
IMPERSONATION_ENDS = "impersonation_ends"
#: In the cookie, before its purpose: the token of a mailed link that was opened and not used yet.
LINK = "link:"
#: In the environment of a request, once it is known.
IMPERSONATED = "portico.impersonated"
#: What `token_service.new_token` writes: 256 bits, nothing else is believed of a cookie.
DEVICE_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may use a view: `name` for people and the API document, `permission` when a code decides."""

    name: str
    signed_in: bool = True
    permission: str | None = None
    #: Only within ten minutes of showing who one is (ASVS 7.5.1).
    is_fresh: bool = False
    #: Also for somebody who has yet to set up the second step that REQUIRE_MFA asks for.
    before_enrolment: bool = False
    #: Also for an account that is frozen, which changes nothing and sees nothing sensitive: the way out.
    while_frozen: bool = False
    #: Where `permission` asks nothing: what a caller without a session must hold to change something all the same.
    delegated: str | None = None
    #: Also for an administrator who is signed in as the person. What does not say so is closed to him.
    even_impersonated: bool = False

    def __post_init__(self) -> None:
        if self.is_fresh and self.even_impersonated:
            raise ValueError("what asks who somebody is can't be open to somebody who is not")

    def check_person(self, by: Principal | None) -> None:
        """Raise ImpersonationRefused when only the person himself may use the view."""
        if by is not None and by.impersonator_id is not None and not self.even_impersonated:
            raise ImpersonationRefused

    def check(self, by: Principal) -> None:
        """Raise AccountFrozen, SecondFactorRequired, Forbidden or ReauthenticationRequired when it asks for more."""
        if by.frozen_at is not None and self.is_shut(request.method):
            raise AccountFrozen
        if not self.before_enrolment and factor_service.must_enrol(by):
            raise SecondFactorRequired
        if self.permission and not by.can(self.permission):
            raise Forbidden
        if self.is_fresh and not by.is_fresh:
            raise ReauthenticationRequired
        if by.session_id is None and request.method not in SAFE_METHODS and not self.is_granted(by):
            raise Forbidden(NOT_GRANTED)

    def is_granted(self, by: Principal) -> bool:
        """Whether a scope of a key, or of an issuer's token, says that its bearer may change this (ASVS 10.3.2)."""
        said = self.permission or self.delegated
        return said is not None and by.can(said)

    def is_shut(self, method: str) -> bool:
        """Whether a frozen account may not use it: what changes something, and what is sensitive."""
        return not self.while_frozen and (self.is_fresh or method not in SAFE_METHODS)


anyone = Rule("anyone", signed_in=False)
signed_in = Rule("signed in")
enrolling = Rule("signed in", before_enrolment=True)
leaving = replace(enrolling, while_frozen=True)


def fresh(rule: Rule) -> Rule:
    """The same, but only within ten minutes of showing who one is."""
    return replace(rule, name=f"{rule.name}, confirmed within ten minutes", is_fresh=True)


def even_impersonated(rule: Rule) -> Rule:
    """The same, also for an administrator who is signed in as the person (docs/accounts.md, "Impersonation")."""
    return replace(rule, even_impersonated=True)


def delegated(rule: Rule, code: str) -> Rule:
    """The same, and to change something a key or an issuer's token needs this permission code."""
    return replace(rule, name=f"{rule.name}; a key with {code}", delegated=code)


def permission(code: str) -> Rule:
    """Only with this permission code."""
    return Rule(code, permission=code)


class Visitor:
    """What Flask-Login keeps for a browser: the principal, by the session token in the cookie."""

    is_authenticated = is_active = True
    is_anonymous = False

    def __init__(self, token: str, principal: Principal) -> None:
        self.token = token
        self.principal = principal

    def get_id(self) -> str:
        """What Flask-Login writes into the cookie."""
        return self.token

    def __getattr__(self, name: str) -> Any:
        return getattr(self.principal, name)


class Anonymous:
    """Nobody signed in."""

    is_authenticated = is_active = False
    is_anonymous = True
    principal = None

    def get_id(self) -> None:
        """Nothing to write into a cookie."""

    def can(self, permission: str) -> bool:
        """Nothing."""
        del permission
        return False


@dataclass(frozen=True, slots=True)
class Impersonated:
    """As whom an administrator is signed in, and until when at most."""

    name: str | None
    ends_at: datetime


class PageSessions(SecureCookieSessionInterface):
    """Cookie sessions for pages only: the API and the probes get a null session that is never read or saved."""

    def open_session(self, app: Flask, request: Any) -> Any:
        if request.path.startswith(("/api/v1/", "/health", "/static/", "/media/")):
            return self.make_null_session(app)
        return super().open_session(app, request)

    def should_set_cookie(self, app: Flask, session: SessionMixin) -> bool:
        return session.modified


def init_app(app: Flask) -> None:
    """Wire Flask-Login and Flask-WTF: no remember cookie, no session protection (it believes X-Forwarded-For)."""
    app.session_interface = PageSessions()
    login_manager.init_app(app, add_context_processor=False)
    login_manager.session_protection = None
    login_manager.anonymous_user = Anonymous
    login_manager.user_loader(_load)
    csrf.init_app(app)
    app.context_processor(lambda: {"current_user": current_user, "impersonation": _impersonation})


def allow(rule: Rule) -> Callable[[View], View]:
    """Every page says who may use it. Unsafe methods need the form's token, or JSON from our own origin."""

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            if request.method not in SAFE_METHODS:
                check_origin()
            _recognise_device()
            # Elsewhere the cookie says whether there is anything to ask: doors must open while the database is away.
            by = visitor() if rule.signed_in or IMPERSONATION_ENDS in session else None
            rule.check_person(by)
            if not rule.signed_in:
                return view(*args, **kwargs)
            if by is None:
                return to_login()
            try:
                rule.check(by)
            except (SecondFactorRequired, ReauthenticationRequired) as missing:
                if wants_json():
                    raise
                return _to_missing_step(missing)
            return view(*args, **kwargs)

        return cast("View", mark(guarded, access=rule))  # it takes what the view takes

    return decorate


def visitor() -> Principal | None:
    """Who is signed in in this browser; asked of the database once a request."""
    principal: Principal | None = current_user.principal
    if principal is not None:
        request.environ["portico.user_id"] = principal.user_id
    return principal


def signed_in_visitor() -> Principal:
    """The same where the view's rule has made sure of it."""
    principal = visitor()
    if principal is None:
        raise NotAuthenticated
    return principal


def sign_in(token: str, principal: Principal) -> None:
    """Give this browser the session `token` stands for; everything it had before is dropped (session fixation).

    But for mailed links that it has opened: some are for those who are signed in. They open nothing by themselves.
    Another session it had is over, not merely forgotten (ASVS 7.2.4).
    """
    before = visitor()
    if before is not None and before.session_id != principal.session_id:
        session_service.log_out(before)
    opened = {name: value for name, value in session.items() if name.startswith(LINK)}
    session.clear()
    session.update(opened)
    login_user(Visitor(token, principal))
    keep_device()


def keep_device() -> None:
    """Give this browser the cookie by which an account knows it again."""
    after_this_request(_keep_device)


def change_cookie(by: Principal) -> None:
    """Give this browser another cookie for the session it has: how its holder signs in has changed."""
    sign_in(session_service.new_cookie(by), by)


def become(token: str, principal: Principal) -> None:
    """Give this browser the other session of an impersonation: the person's, or the administrator's own again.

    The one it had is left as it is; its forms are worth nothing any more, as their tokens were for somebody else.
    """
    session.clear()
    if principal.impersonation_ends_at is not None:
        session[IMPERSONATION_ENDS] = principal.impersonation_ends_at.timestamp()
    login_user(Visitor(token, principal))


def sign_out() -> None:
    """Forget the session in this browser; the row itself is the service's business."""
    logout_user()
    session.clear()


def to_login() -> Response:
    """Where somebody goes who has to sign in first: the form, and afterwards back here. Programs get a 401."""
    if wants_json():
        raise NotAuthenticated
    if session.pop(IMPERSONATION_ENDS, None):
        flash("You are no longer signed in as somebody else. Sign in to your own account again.", "warning")
    back = request.full_path.rstrip("?") if request.method in {"GET", "HEAD"} else None
    return see_other(url_for("auth.login", next=back))


def ask_again(by: Principal) -> Response | None:
    """Where to show again who one is, for a page that only sometimes needs it; None when that was lately."""
    try:
        fresh(signed_in).check(by)
    except ReauthenticationRequired as missing:
        return _to_missing_step(missing)
    return None


def _to_missing_step(missing: SecondFactorRequired | ReauthenticationRequired) -> Response:
    """Where somebody sets up a second step, or shows again who he is and comes back."""
    if isinstance(missing, SecondFactorRequired):
        return see_other(url_for("account.security"))
    back = request.full_path.rstrip("?") if request.method in SAFE_METHODS else _came_from()
    return see_other(url_for("auth.reauthenticate", next=back))


def _came_from() -> str | None:
    """The page of ours whose form was sent: where it can be sent again, as what it sent can't be kept."""
    came = urlsplit(request.referrer or "")
    if not is_ours(f"{came.scheme}://{came.netloc}"):
        return None
    return f"{came.path}?{came.query}" if came.query else came.path


def bearer() -> Principal:
    """Who calls the API, in one statement: an access token's signature, claims and session; or an API key.

    With OIDC_AUDIENCE the issuer's access tokens count too, for the accounts they are linked to, without a session.
    Raises NotAuthenticated without a token, InvalidToken or TokenExpired with a bad one.
    """
    header = request.environ.get("HTTP_AUTHORIZATION", "")
    if not header:
        raise NotAuthenticated
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token or len(token) > LONGEST_BEARER or not token.isascii():
        raise InvalidToken
    if api_key_service.is_one(token):
        principal = api_key_service.find(token)
    elif current_app.config["OIDC_AUDIENCE"] and identity_service.is_issuers(token):
        principal = identity_service.find_bearer(token)
    else:
        principal = session_service.find_api(token_service.read_access_token(token))
    if principal is None:
        raise InvalidToken("The session of this token is over, or the key no longer works.")
    request.environ["portico.user_id"] = principal.user_id
    return principal


def _load(token: str) -> Visitor | None:
    principal = session_service.find_browser(token)
    if principal is not None and principal.impersonation_ends_at is not None:
        request.environ[IMPERSONATED] = Impersonated(principal.name, principal.impersonation_ends_at)
    return Visitor(token, principal) if principal else None


def _impersonation() -> Impersonated | None:
    """As whom an administrator is signed in here, for the banner; None where people are themselves.

    Pages that could not ask the database, or had no need to, know from the cookie that there is somebody, not who.
    """
    known: Impersonated | None = request.environ.get(IMPERSONATED)
    ends_at = session.get(IMPERSONATION_ENDS)
    if known is None and isinstance(ends_at, float) and ends_at > now().timestamp():
        return Impersonated(None, datetime.fromtimestamp(ends_at, UTC))
    return known


def _recognise_device() -> None:
    """The token of this browser's device cookie, or of the one it gets when a session starts."""
    token = request.cookies.get(current_app.config["DEVICE_COOKIE_NAME"], "")
    set_device(token if DEVICE_TOKEN.fullmatch(token) else token_service.new_token())


def _keep_device(response: Response) -> Response:
    token = origin().device
    if token is not None:
        response.set_cookie(
            current_app.config["DEVICE_COOKIE_NAME"],
            token,
            max_age=known_device_service.LIFE,
            path="/",
            secure=current_app.config["SESSION_COOKIE_SECURE"],
            httponly=True,
            samesite="Lax",
        )
    return response
