"""Addresses that others look for by convention (RFC 8615)."""

from datetime import timedelta

from flask import Blueprint, Response, current_app, json, url_for

from blueprints.http.access import allow, anyone, even_impersonated
from blueprints.http.redirects import see_other
from services.clock import now
from services.errors import NotFound
from services.signing_keys import signing_keys

bp = Blueprint("well_known", __name__, url_prefix="/.well-known")

JWKS_SECONDS = 300
SECURITY_TXT_DAYS = 180


@bp.get("/jwks.json")
@allow(even_impersonated(anyone))
def jwks() -> Response:
    """The public halves of the keys that sign access tokens (RFC 7517); none while one secret signs them."""
    response = Response(json.dumps(signing_keys().jwks()), mimetype="application/jwk-set+json")
    response.headers["Cache-Control"] = f"public, max-age={JWKS_SECONDS}"
    return response


@bp.get("/change-password")
@allow(even_impersonated(anyone))
def change_password() -> Response:
    """Where a password manager sends people to change their password."""
    return see_other(url_for("account.password"))


@bp.get("/security.txt")
@allow(even_impersonated(anyone))
def security_txt() -> Response:
    """Whom to tell about a hole (RFC 9116); 404 until SECURITY_CONTACT is set."""
    contact = current_app.config["SECURITY_CONTACT"]
    if not contact:
        raise NotFound
    expires = (now() + timedelta(days=SECURITY_TXT_DAYS)).strftime("%Y-%m-%dT00:00:00Z")
    canonical = f"{current_app.config['BASE_URL']}/.well-known/security.txt"
    lines = [
        f"Contact: {contact}",
        f"Expires: {expires}",
        "Preferred-Languages: en",
        f"Canonical: {canonical}",
    ]
    return Response("\n".join(lines) + "\n", mimetype="text/plain")
