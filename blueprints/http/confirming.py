"""The page that confirms an address: what it asks for beside the mailed link, or beside the typed code."""

from flask import request

from blueprints.http.form import Form
from services.errors import PasswordNeeded
from services.schemas.auth import (
    Asks,
    ConfirmAsNewByCodeIn,
    ConfirmAsNewByLinkIn,
    ConfirmOwnByCodeIn,
    ConfirmOwnByLinkIn,
    LinkOut,
    VerifyHereByCodeIn,
    VerifyHereByLinkIn,
)
from services.schemas.base import In

BY_LINK: dict[Asks | None, type[In]] = {
    None: VerifyHereByLinkIn,
    "current_password": ConfirmOwnByLinkIn,
    "password": ConfirmAsNewByLinkIn,
}
BY_CODE: dict[Asks | None, type[In]] = {
    None: VerifyHereByCodeIn,
    "current_password": ConfirmOwnByCodeIn,
    "password": ConfirmAsNewByCodeIn,
}


def asked(link: LinkOut | None) -> Asks | None:
    """What the page asks for; of a code only the form that was sent tells what was asked for with it."""
    if link is not None:
        return "password" if request.args.get("with") == "new-password" else link.asks
    return next((field for field in BY_CODE if field and field in request.form), None)


def form_of(link: LinkOut | None) -> Form:
    """The form with these fields."""
    return Form((BY_LINK if link else BY_CODE)[asked(link)])


def after_code(form: Form) -> Form | None:
    """The form that asks for the rest once a code was right; None where nothing is missing."""
    if not isinstance(form.error, PasswordNeeded):
        return None
    return Form(BY_CODE[form.error.asks], email=form["email"].value, code=form["code"].value)
