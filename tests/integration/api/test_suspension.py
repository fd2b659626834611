"""Suspensions that end by themselves, second steps that an administrator resets, and what asks for a fresh sign-in."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, update

from models import AuditEvent, OutboxMail, User, UserSession, db
from models.base import now
from models.passkey import Passkey
from models.second_factor import RecoveryCode, TotpCredential
from services import factor_service, suspension_service, worker
from services.base_service import unit_of_work
from services.permissions import USERS_READ, USERS_WRITE
from tests.clients import Api, PageClient
from tests.factories import Person, make_person, make_role
from tests.state import unchanged

TOMORROW = timedelta(days=1)


def user_of(app: Flask, person: Person) -> User:
    with app.app_context():
        return db.session.scalars(select(User).where(User.id == person.id)).one()


def events(app: Flask, action: str) -> list[tuple[int | None, dict[str, Any]]]:
    with app.app_context():
        found = select(AuditEvent.actor_id, AuditEvent.details).where(AuditEvent.action == action)
        return [(row.actor_id, row.details) for row in db.session.execute(found)]


def mails(app: Flask, person: Person) -> list[str]:
    with app.app_context():
        return list(db.session.scalars(select(OutboxMail.kind).where(OutboxMail.to_address == person.email)))


def let_time_pass(app: Flask) -> None:
    """The suspension began two days ago, and its end has come."""
    with app.app_context(), unit_of_work():
        times = {"suspended_at": now() - 2 * TOMORROW, "suspended_until": now() - timedelta(seconds=1)}
        db.session.execute(update(User).where(~User.is_active).values(times))


def sign_in(api: Api, person: Person) -> int:
    sent = {"email": person.email, "password": person.password}
    return Api(api.app).post("/auth/login", sent).status_code


def grow_old(app: Flask) -> None:
    """Everybody signed in eleven minutes ago."""
    with app.app_context(), unit_of_work():
        long_ago = now() - timedelta(minutes=11)
        db.session.execute(update(UserSession).values(authenticated_at=long_ago))


def test_a_suspension_is_told_with_its_end(app: Flask, api: Api, ada: Person, bob: Person) -> None:
    until = now() + TOMORROW
    sent = {"reason": "Sent spam.", "until": until.isoformat()}
    assert api.as_(ada).post(f"/users/{bob.id}/suspend", sent).status_code == 200
    assert user_of(app, bob).suspended_until == until
    assert mails(app, bob) == ["suspended"]
    assert events(app, "account:suspend") == [(ada.id, {"reason": "Sent spam.", "until": until.isoformat()})]
    assert sign_in(api, bob) == 401


@pytest.mark.parametrize(
    "until", ["2020-01-01T00:00:00Z", "2030-01-01T00:00:00", "tomorrow", 5, "2030-01-01"]
)
def test_an_end_that_is_none_is_refused(app: Flask, api: Api, ada: Person, bob: Person, until: Any) -> None:
    program = api.as_(ada)
    with unchanged(app):
        answer = program.post(f"/users/{bob.id}/suspend", {"reason": "Sent spam.", "until": until})
    assert answer.status_code == 422
    assert answer.json["error"]["details"]["field"] == "until"


def test_the_worker_ends_what_is_over(app: Flask, api: Api, ada: Person, bob: Person, alice: Person) -> None:
    program = api.as_(ada)
    program.post(f"/users/{bob.id}/suspend", {"reason": "Spam.", "until": (now() + TOMORROW).isoformat()})
    let_time_pass(app)
    program.post(f"/users/{alice.id}/suspend", {"reason": "Spam.", "until": (now() + TOMORROW).isoformat()})
    with app.app_context():
        assert worker.PURGES["suspensions"] is suspension_service.end_due
        with unit_of_work():
            assert suspension_service.end_due() == 1
    assert (user_of(app, bob).is_active, user_of(app, alice).is_active) == (True, False)
    assert mails(app, bob) == ["suspended", "reinstated"]
    (actor, details) = events(app, "account:reinstate")[0]
    assert actor is None
    assert "until" in details
    assert sign_in(api, bob) == 200


def test_who_comes_before_the_worker_is_let_in(app: Flask, api: Api, ada: Person, bob: Person) -> None:
    until = (now() + TOMORROW).isoformat()
    api.as_(ada).post(f"/users/{bob.id}/suspend", {"reason": "Spam.", "until": until})
    let_time_pass(app)
    wrong = {"email": bob.email, "password": "not the password"}
    assert Api(app).post("/auth/login", wrong).status_code == 401
    assert not user_of(app, bob).is_active
    assert sign_in(api, bob) == 200
    assert user_of(app, bob).suspended_until is None


def test_a_suspension_without_end_stays(app: Flask, api: Api, ada: Person, bob: Person) -> None:
    api.as_(ada).post(f"/users/{bob.id}/suspend", {"reason": "Spam."})
    with app.app_context(), unit_of_work():
        assert suspension_service.end_due() == 0
    assert sign_in(api, bob) == 401


def test_who_is_reinstated_early_has_no_end_left(app: Flask, api: Api, ada: Person, bob: Person) -> None:
    program = api.as_(ada)
    program.post(f"/users/{bob.id}/suspend", {"reason": "Spam.", "until": (now() + TOMORROW).isoformat()})
    program.post(f"/users/{bob.id}/reinstate")
    assert user_of(app, bob).suspended_until is None


def test_the_page_takes_a_day(app: Flask, client: PageClient, ada: Person, bob: Person) -> None:
    client.sign_in(ada)
    day = (now() + 3 * TOMORROW).date()
    client.submit(f"/admin/users/{bob.id}/suspend", reason="Spam.", until=day.isoformat())
    assert user_of(app, bob).suspended_until == datetime(day.year, day.month, day.day, tzinfo=UTC)
    assert "until" in client.get(f"/admin/users/{bob.id}").text
    alice = make_person(app, "Alice", password_hash="x")
    past = client.submit(f"/admin/users/{alice.id}/suspend", reason="Spam.", until="2020-01-01")
    assert past.status_code == 422
    assert 'href="#until"' in past.text


def with_factors(app: Flask, person: Person) -> None:
    """An app, a passkey and codes, as rows."""
    with app.app_context(), unit_of_work():
        seed = {"seed_encrypted": b"x", "confirmed_at": now()}
        db.session.add(TotpCredential(user_id=person.id, **seed))
        db.session.add(RecoveryCode(user_id=person.id, code_hash=b"x"))
        db.session.execute(update(User).where(User.id == person.id).values(has_second_factor=True))


def test_a_lost_second_step_is_reset(app: Flask, api: Api, ada: Person, bob: Person) -> None:
    with_factors(app, bob)
    his, program = api.as_(bob), api.as_(ada)
    assert program.delete(f"/users/{bob.id}/factors").status_code == 200
    assert his.get("/users/me").status_code == 401
    assert user_of(app, bob).has_second_factor is False
    with app.app_context():
        assert factor_service.methods(bob.id) == []
        assert not db.session.scalars(select(RecoveryCode).where(RecoveryCode.user_id == bob.id)).all()
        assert not db.session.scalars(select(Passkey).where(Passkey.user_id == bob.id)).all()
    assert mails(app, bob) == ["factors_reset"]
    assert events(app, "account:factor:reset") == [(ada.id, {"factors": ["recovery_code", "totp"]})]
    assert sign_in(api, bob) == 200
    assert program.delete(f"/users/{bob.id}/factors").status_code == 409


def test_nobody_resets_his_own_nor_those_above_him(app: Flask, api: Api, ada: Person) -> None:
    with_factors(app, ada)
    helper = make_person(app, "Hanna", role=make_role(app, "helper", USERS_READ, USERS_WRITE))
    program, above = api.as_(ada), api.as_(helper)
    with unchanged(app):
        assert program.delete(f"/users/{ada.id}/factors").status_code == 403
        assert above.delete(f"/users/{ada.id}/factors").status_code == 403
        assert program.delete("/users/999999/factors").status_code == 404


def test_the_button_asks_first(app: Flask, client: PageClient, ada: Person, bob: Person) -> None:
    client.sign_in(ada)
    path = f"/admin/users/{bob.id}/reset-factors"
    assert path not in client.get(f"/admin/users/{bob.id}").text
    with_factors(app, bob)
    assert path in client.get(f"/admin/users/{bob.id}").text
    assert "Reset the second step of Bob" in client.get(path).text
    assert user_of(app, bob).has_second_factor is True
    client.submit(path)
    assert user_of(app, bob).has_second_factor is False


def test_an_old_sign_in_does_nothing_that_matters(app: Flask, api: Api, ada: Person, bob: Person) -> None:
    with_factors(app, bob)
    program = api.as_(ada)
    grow_old(app)
    with unchanged(app):
        answers = [
            program.delete(f"/users/{bob.id}"),
            program.delete(f"/users/{bob.id}/factors"),
            program.patch(f"/users/{bob.id}", {"role": "editor"}),
        ]
    assert {answer.json["error"]["code"] for answer in answers} == {"REAUTHENTICATION_REQUIRED"}
    assert program.patch(f"/users/{bob.id}", {"name": "Robert"}).status_code == 200


def test_pages_that_matter_ask_again_and_lead_back(
    app: Flask, client: PageClient, ada: Person, bob: Person
) -> None:
    with_factors(app, bob)
    client.sign_in(ada)
    grow_old(app)
    page = f"/admin/users/{bob.id}"
    token = client.token("/account/password")
    with unchanged(app):
        sent = {"csrf_token": token, "role": "editor"}
        came = {"Referer": f"http://localhost{page}"}
        response = client.post(f"{page}/role", data=sent, headers=came)
    assert response.location == f"/auth/reauthenticate?next={page}"
    asked = client.get(f"{page}/reset-factors").location
    assert asked == f"/auth/reauthenticate?next={page}/reset-factors"
    back = client.submit(asked, password=ada.password, next=f"{page}/reset-factors")
    assert back.location == f"{page}/reset-factors"
    assert client.get(back.location).status_code == 200
