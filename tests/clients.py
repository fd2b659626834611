"""The doors of the product as tests use them: a browser and a program."""

from typing import TYPE_CHECKING, Any, cast

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from models import User, db
from services.base_service import unit_of_work
from services.session_service import start_api
from tests.factories import Person
from tests.page_lint import lint


class Answer(TestResponse):
    """What comes back, as type checkers should see it: where a test reads JSON, it knows there is some."""

    if TYPE_CHECKING:

        @property
        def json(self) -> Any: ...


class PageClient(FlaskClient):
    """A browser: every page that any test fetches is looked over."""

    if TYPE_CHECKING:

        def get(self, *args: Any, **kwargs: Any) -> Answer: ...
        def post(self, *args: Any, **kwargs: Any) -> Answer: ...
        def head(self, *args: Any, **kwargs: Any) -> Answer: ...

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        response = super().open(*args, **kwargs)
        if response.mimetype == "text/html" and response.data:
            lint(response)
        return response

    def token(self, path: str = "/auth/login") -> str:
        """The CSRF token of a form."""
        page = self.get(path).get_data(as_text=True)
        return page.split('name="csrf_token" value="')[1].split('"')[0]

    def submit(self, path: str, form_at: str | None = None, **fields: Any) -> Answer:
        """Fill in the form at `form_at` (default: the same address) and send it."""
        return self.post(path, data={"csrf_token": self.token(form_at or path), **fields})

    def sign_in(self, person: Person) -> Answer:
        """Through the form."""
        return self.submit("/auth/login", email=person.email, password=person.password)


def browser(app: Flask) -> PageClient:
    """Another browser, without cookies."""
    return cast("PageClient", app.test_client())


class Api:
    """A program: JSON in, JSON out, perhaps with a bearer token."""

    def __init__(self, app: Flask, token: str | None = None) -> None:
        self.app = app
        self.token = token

    def as_(self, person: Person) -> "Api":
        """The same with a token of this person."""
        with self.app.app_context(), unit_of_work():
            user = db.session.get_one(User, person.id)
            token = start_api(user, "test").access_token
        return Api(self.app, token)

    def call(self, method: str, path: str, **kwargs: Any) -> Answer:
        """`path` below /api/v1 unless it is absolute."""
        headers = dict(kwargs.pop("headers", {}))
        if self.token is not None:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        address = path if path.startswith("/api/") else f"/api/v1{path}"
        return cast("Answer", self.app.test_client().open(address, method=method, headers=headers, **kwargs))

    def get(self, path: str, **kwargs: Any) -> Answer:
        """GET."""
        return self.call("GET", path, **kwargs)

    def post(self, path: str, json: Any = None, **kwargs: Any) -> Answer:
        """POST, with a JSON body where one is given."""
        return self.call("POST", path, **({"json": json} if json is not None else {}), **kwargs)

    def put(self, path: str, json: Any, **kwargs: Any) -> Answer:
        """PUT."""
        return self.call("PUT", path, json=json, **kwargs)

    def patch(self, path: str, json: Any, **kwargs: Any) -> Answer:
        """PATCH."""
        return self.call("PATCH", path, json=json, **kwargs)

    def delete(self, path: str, **kwargs: Any) -> Answer:
        """DELETE."""
        return self.call("DELETE", path, **kwargs)
