"""An account deleted by an administrator, who confirms with his own password."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from sqlalchemy import func, select

from models import OneTimeToken, User, db
from tests.clients import PageClient
from tests.factories import PASSWORD, Person, make_person
from tests.integration.pages.admin.accounts import events, flash_after, is_there, mails_to
from tests.integration.pages.admin.conftest import Browser
from tests.state import unchanged


def test_deleting_asks_for_ones_own_password(app: Flask, desk: PageClient, bob: Person) -> None:
    response = desk.submit(f"/admin/users/{bob.id}/delete", reason="Asked for it.", current_password=PASSWORD)
    assert response.location == "/admin/users"
    assert f"The account of {bob.name} is deleted." in flash_after(desk, response)
    assert not is_there(app, bob.id)
    assert mails_to(app, bob.email) == ["account_deleted"]
    assert events(app, "account:delete")[0]["reason"] == "Asked for it."
    assert desk.get(f"/admin/users/{bob.id}").status_code == 404


@pytest.mark.parametrize("password", ["", "not my password", f"{PASSWORD} "])
def test_without_the_password_nothing_is_deleted(
    app: Flask, desk: PageClient, bob: Person, password: str
) -> None:
    with unchanged(app, but=("audit_events",)):
        response = desk.submit(f"/admin/users/{bob.id}/delete", reason="Kept.", current_password=password)
    assert response.status_code == (403 if password else 422)
    assert 'href="#current_password"' in response.text
    assert "Kept." in response.text
    assert password not in response.text or not password
    assert len(events(app, "account:delete_refused")) == (1 if password else 0)


def test_the_password_of_the_account_itself_will_not_do(app: Flask, desk: PageClient) -> None:
    bob = make_person(app, "Bob", password="his very own password")
    with unchanged(app, but=("audit_events",)):
        response = desk.submit(f"/admin/users/{bob.id}/delete", current_password=bob.password)
    assert response.status_code == 403


def test_guessing_the_password_is_slowed(app: Flask, desk: PageClient, bob: Person) -> None:
    token = desk.token(f"/admin/users/{bob.id}/delete")
    sent = {"csrf_token": token, "current_password": "wrong"}
    tries = [desk.post(f"/admin/users/{bob.id}/delete", data=sent) for _ in range(11)]
    assert [response.status_code for response in tries] == [403] * 10 + [429]
    assert int(tries[-1].headers["Retry-After"]) > 0
    right = desk.post(f"/admin/users/{bob.id}/delete", data={**sent, "current_password": PASSWORD})
    assert right.status_code == 429
    assert is_there(app, bob.id)


def test_the_right_password_forgives_the_wrong_ones(app: Flask, desk: PageClient, bob: Person) -> None:
    others = [make_person(app, f"Member {number}", password_hash="x") for number in range(2)]
    for other in others:
        for _ in range(4):
            desk.submit(f"/admin/users/{bob.id}/delete", current_password="wrong")
        response = desk.submit(f"/admin/users/{other.id}/delete", current_password=PASSWORD)
        assert response.status_code == 303


@pytest.mark.real_database
def test_of_two_administrators_who_delete_each_other_one_stays(app: Flask, browser: Browser) -> None:
    people = [make_person(app, name, role="admin") for name in ("Ada Okonkwo", "Second Admin")]
    clients = [browser(person) for person in people]
    paths = [f"/admin/users/{person.id}/delete" for person in reversed(people)]
    tokens = [client.token(path) for client, path in zip(clients, paths, strict=True)]

    def delete(number: int) -> int:
        sent = {"csrf_token": tokens[number], "current_password": PASSWORD}
        return clients[number].post(paths[number], data=sent).status_code

    with ThreadPoolExecutor(2) as pool:
        statuses = list(pool.map(delete, range(2)))
    assert statuses.count(303) >= 1
    with app.app_context():
        left = db.session.scalar(select(func.count()).select_from(User).where(User.role == "admin"))
    assert left == 1


def test_links_of_a_deleted_account_are_dead(app: Flask, desk: PageClient, bob: Person) -> None:
    desk.submit(f"/admin/users/{bob.id}/reset-password", f"/admin/users/{bob.id}")
    desk.submit(f"/admin/users/{bob.id}/delete", current_password=PASSWORD)
    with app.app_context():
        assert not db.session.scalar(select(func.count()).select_from(OneTimeToken))
