"""flask demo: sample data, labelled, once."""

import json
import re

import pytest
from flask import Flask
from sqlalchemy import func, select

from models import AuditEvent, User, UserSession, db
from services.demo_service import DOMAIN, NAMES
from services.schemas.base import _email
from tests.clients import Api
from tests.integration.commands.conftest import Run

pytestmark = pytest.mark.integration


def count(app: Flask, model: type) -> int:
    with app.app_context():
        return db.session.scalar(select(func.count()).select_from(model)) or 0


def sign_in(output: str) -> dict[str, str]:
    return {
        "email": re.findall(r"e-mail +(\S+)", output)[0],
        "password": re.findall(r"password +(\S+)", output)[0],
    }


def test_sample_data_are_made_once(app: Flask, run: Run, api: Api) -> None:
    first = run("demo")
    assert first.exit_code == 0, first.stderr
    assert count(app, User) == len(NAMES) + 1 == 40
    assert count(app, UserSession) > 20
    events = count(app, AuditEvent)
    second = run("demo")
    assert "there already" in second.stdout
    assert (count(app, User), count(app, AuditEvent)) == (40, events + 1)
    former, present = sign_in(first.stdout), sign_in(second.stdout)
    assert api.post("/auth/login", former).status_code == 401
    assert api.post("/auth/login", present).json["data"]["user"]["role"] == "admin"


def test_people_are_plausible_and_labelled(run: Run) -> None:
    run("demo")
    people = json.loads(run("users", "list", "--json").stdout)
    assert all(person["email"].endswith(f"@{DOMAIN}") for person in people)
    assert [person["email"] for person in people] == [_email(person["email"]) for person in people]
    assert {person["role"] for person in people} == {"admin", "editor", "member"}
    assert [person["name"] for person in people if not person["is_active"]] == ["Nikolai Petrov"]
    assert sum(not person["email_verified"] for person in people) == 3


def test_there_is_none_in_production(app: Flask, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.config, "ENVIRONMENT", "production")
    refused = run("demo")
    assert refused.exit_code == 1
    assert "no sample data in production" in refused.stderr
    assert count(app, User) == 0
