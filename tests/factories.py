"""People and things for tests, made in the database the way the product makes them."""

from dataclasses import dataclass
from itertools import count
from typing import Any

from flask import Flask

from models import Role, User, db
from services import password_service
from services.base_service import unit_of_work

PASSWORD = "lantern orchid gravel nine"
_numbers = count(1)


@dataclass(frozen=True)
class Person:
    """Somebody with an account, as tests speak of him."""

    id: int
    email: str
    name: str
    password: str


def make_person(app: Flask, name: str = "Somebody", **columns: Any) -> Person:
    """An account that is ready to sign in; `columns` override."""
    email = columns.pop("email", None) or f"{name.split(maxsplit=1)[0].lower()}{next(_numbers)}@example.com"
    password = columns.pop("password", PASSWORD)
    with app.app_context(), unit_of_work():
        user = User(
            name=name,
            email=email,
            **{"password_hash": password_service.hash_password(password), "email_verified": True, **columns},
        )
        db.session.add(user)
        db.session.flush()
        return Person(user.id, user.email, user.name, password)


def make_role(app: Flask, name: str, *permissions: str) -> str:
    """A role of somebody's own; made once, however often asked for."""
    with app.app_context(), unit_of_work():
        db.session.merge(Role(name=name, description="Some things", permissions=list(permissions)))
    return name
