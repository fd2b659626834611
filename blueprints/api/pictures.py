"""Your picture."""

from typing import Any

from flask import Blueprint

from blueprints.http.access import signed_in
from blueprints.http.endpoint import endpoint
from blueprints.http.units import opens_units
from blueprints.http.upload import sent_file, takes_up_to
from services import picture_service
from services.errors import Invalid, PayloadTooLarge, UnsupportedMediaType
from services.mail_service import link
from services.media_service import file_of
from services.media_stores import SIZES
from services.principal import Principal
from services.schemas.own_data import PictureOut

bp = Blueprint("api_pictures", __name__, url_prefix="/api/v1/users/me/picture")

MEDIA = ("image/png", "image/jpeg", "image/webp")


@bp.put("")
@endpoint(
    allow=signed_in,
    uploads=("picture", MEDIA),
    out=PictureOut,
    message="Your picture is saved.",
    errors=(Invalid, PayloadTooLarge, UnsupportedMediaType),
)
@opens_units
@takes_up_to(picture_service.MOST_BYTES)
def replace_picture(by: Principal) -> Any:
    """Set your picture: PNG, JPEG or WebP of at most 5 MB and 25 million pixels.

    Send the file as the body, or as the field `picture` of a form. It is cut square and made anew without metadata.
    """
    name = picture_service.replace(lambda: sent_file("picture", media=MEDIA), by=by)
    large, small = (link(f"/media/{file_of(name, size)}") for size in SIZES)
    return PictureOut(large=large, small=small)


@bp.delete("")
@endpoint(allow=signed_in, message="You have no picture now.")
def remove_picture(by: Principal) -> None:
    """Remove your picture."""
    picture_service.remove(by=by)
