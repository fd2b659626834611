"""Forms of the pages: lenient fields into the same schemas the API uses, errors beside their fields.

Programs that send JSON to a page's address get strict parsing and the envelope instead.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from flask import Response, flash, render_template, request
from pydantic import BaseModel, TypeAdapter
from werkzeug.datastructures import MultiDict

from blueprints.http.envelope import success
from blueprints.http.errors import headers_of, status_of, wants_json
from blueprints.http.redirects import see_other
from blueprints.http.validation import read_form, read_json
from services.base_service import attempt
from services.errors import (
    Conflict,
    DomainError,
    Forbidden,
    Invalid,
    NotAuthenticated,
    PasskeyNotVerified,
    RateLimited,
    WrongCode,
)
from services.schemas.base import In

#: What HTML has no way to hold, and so can't be put back into a field.
_NOT_IN_HTML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
#: What a form shows again with its message; anything else is a page of its own.
SHOWN = (Invalid, Conflict, NotAuthenticated, Forbidden, RateLimited, WrongCode, PasskeyNotVerified)


@dataclass(slots=True)
class Field:
    """One field as a macro needs it."""

    name: str
    label: str
    required: bool
    hint: str = ""
    value: str = ""
    error: str = ""
    #: What was ticked in a group of check boxes.
    values: tuple[str, ...] = ()


class Form:
    """A schema's fields with what the visitor typed and what is wrong with it. Secrets are never put back."""

    def __init__(self, schema: type[In], **values: object) -> None:
        self.schema = schema
        self.errors: list[tuple[str, str]] = []
        self.error: DomainError | None = None
        self.fields = {
            name: Field(
                name=name,
                label=info.title or name,
                required=info.is_required(),
                hint=info.description or "",
                value=_shown(values.get(name)),
                values=_ticked(values.get(name)),
            )
            for name, info in schema.model_fields.items()
        }

    def __getitem__(self, name: str) -> Field:
        return self.fields[name]

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields.values())

    def submit(self, act: Callable[[Any], Any], *, programs: Any = None) -> bool:
        """Validate what was sent and run `act` with it. False when the form is to be shown, or shown again.

        Programs' faults are raised instead, for the envelope; `programs` is their schema where it is not the form's.
        """
        if request.method != "POST":
            return False
        if request.mimetype == "application/json":
            self.result = act(read_json(TypeAdapter(programs or self.schema)))
            return True
        self._keep(request.form)
        try:
            with attempt():
                self.result = act(read_form(self.schema, request.form))
        except SHOWN as error:
            if wants_json():
                raise
            self._refuse(error)
            return False
        return True

    def refuse(self, name: str, message: str) -> None:
        """Say what is wrong; `name` is a field, or "" for the whole. Away from its field the message names it."""
        field = self.fields.get(name)
        if field is not None:
            field.error = message
        self.errors.append((name, _alone(field, message)))

    def render(self, template: str, **context: Any) -> Response:
        """The page with this form; 422, or the status of what was refused, when it is shown again."""
        status = status_of(self.error) if self.error else 200
        page = render_template(template, form=self, **context)
        response = Response(page, status=status, mimetype="text/html")
        if self.error:
            response.headers.update(headers_of(self.error, status))
        return response

    def _keep(self, sent: MultiDict[str, str]) -> None:
        for name, field in self.fields.items():
            field.value = (
                "" if name in self.schema.secret_fields else _NOT_IN_HTML.sub("", sent.get(name, ""))
            )
            field.values = tuple(sent.getlist(name))

    def _refuse(self, error: DomainError) -> None:
        self.error = error
        faults = error.details.get("errors") or [
            {"field": error.details.get("field", ""), "error": error.message}
        ]
        for fault in faults:
            name = fault["field"] if fault["field"] in self.fields else ""
            self.refuse(name, fault["error"])


def done(
    location: str, *, data: Callable[[], BaseModel] | None = None, message: str, status: int = 200
) -> Response:
    """The end of a form that worked: on to `location` (303); for programs the envelope with `data` and `status`."""
    if wants_json():
        body = data().model_dump_json().encode() if data else b"null"
        return success(body, message=message, status=status)
    return see_other(location)


def told(
    location: str, *, data: Callable[[], BaseModel] | None = None, message: str, status: int = 200
) -> Response:
    """As `done`; people read the message on the page they come to."""
    if not wants_json():
        flash(message, "success")
    return done(location, data=data, message=message, status=status)


def _alone(field: Field | None, message: str) -> str:
    """The message as it reads away from its field; what services say are whole sentences and need no name."""
    return message if field is None or message.endswith(".") else f"{field.label}: {message}"


def _shown(value: object) -> str:
    return "" if value is None or isinstance(value, list | tuple) else str(value)


def _ticked(value: object) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, list | tuple) else ()
