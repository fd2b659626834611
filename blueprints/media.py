"""Pictures that people have uploaded, as files that can do nothing but be looked at."""

from flask import Blueprint, Response

from blueprints.http.access import allow, anyone, even_impersonated
from blueprints.http.units import opens_units
from services import picture_service

bp = Blueprint("media", __name__, url_prefix="/media")


@bp.get("/<file>")
@opens_units
@allow(even_impersonated(anyone))
def show(file: str) -> Response:
    """A picture by its unguessable name; what it shows never changes."""
    response = Response(picture_service.read(file), mimetype="image/webp")
    response.headers["Cache-Control"] = "private, max-age=31536000, immutable"
    # Opened by itself it is a picture and nothing else, whatever a browser makes of its bytes (ASVS 3.2.1).
    response.headers["Content-Security-Policy"] = "default-src 'none'; frame-ancestors 'none'; sandbox"
    response.headers.set("Content-Disposition", "inline", filename=file)
    return response
