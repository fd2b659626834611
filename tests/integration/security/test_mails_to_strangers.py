"""Mails that a stranger can cause are counted for the mailbox they go to, whoever asks; the answer tells nothing."""

from datetime import timedelta

import pytest
import time_machine
from flask import Flask

from models.base import now
from services import throttle_service
from tests.clients import Api, PageClient
from tests.factories import PASSWORD, Person, make_person
from tests.integration.pages.desk import mails_to, subjects

VICTIM = "victim@example.org"


def ask(api: Api, person: Person, email: str = VICTIM) -> tuple[int, str]:
    answer = api.as_(person).post("/users/me/email", {"email": email, "current_password": person.password})
    return answer.status_code, answer.json["message"]


def test_many_accounts_together_mail_a_new_address_ten_times_an_hour(app: Flask, api: Api) -> None:
    people = [make_person(app) for _ in range(7)]
    spellings = (VICTIM, "VICTIM@example.org", "Victim@EXAMPLE.org")
    answers = {
        ask(api, person, spellings[turn]) for turn in range(3) for person in people[: 5 if turn else 7]
    }
    assert len(answers) == 1, "nobody is told"
    assert len(mails_to(app, VICTIM)) == 10
    with time_machine.travel(now() + timedelta(hours=1, seconds=1)):
        ask(api, people[0])
    assert len(mails_to(app, VICTIM)) == 11


def test_an_account_that_may_not_mail_has_its_change_waiting_all_the_same(
    app: Flask, api: Api, client: PageClient, alice: Person
) -> None:
    with app.test_request_context():
        while throttle_service.allows(throttle_service.CHANGE_EMAIL_MAIL, VICTIM):
            pass
    ask(api, alice)
    assert mails_to(app, VICTIM) == []
    client.sign_in(alice)
    assert VICTIM in client.get("/account/email").text
    assert len(mails_to(app, alice.email)) >= 1, "its present address is told"


def test_the_holder_of_a_taken_address_gets_no_more(app: Flask, api: Api, bob: Person) -> None:
    people = [make_person(app) for _ in range(4)]
    answers = {ask(api, person, bob.email) for _ in range(4) for person in people}
    assert len(answers) == 1
    assert subjects(app, bob.email) == ["You already have an account"] * 10


def test_registering_mails_an_address_ten_times_an_hour(app: Flask, api: Api) -> None:
    began, codes = now(), set()
    for minute in range(15):
        with time_machine.travel(began + timedelta(minutes=minute, seconds=minute)):
            body = {"email": VICTIM, "name": "Somebody", "password": PASSWORD}
            codes.add(api.post("/auth/register", body).status_code)
    assert codes == {202}
    assert len(mails_to(app, VICTIM)) == 10


def test_invitations_and_resets_that_others_ask_for_are_ten_an_hour(
    app: Flask, api: Api, client: PageClient, ada: Person
) -> None:
    admin = api.as_(ada)
    made = admin.post("/users", {"email": VICTIM, "name": "Somebody", "role": "member"})
    client.sign_in(ada)
    page = f"/admin/users/{made.json['data']['id']}"
    for _ in range(12):
        client.submit(f"{page}/reset-password", form_at=page)
    assert len(mails_to(app, VICTIM)) == 10
    assert "Too many attempts. Try again in" in client.get(page).text
    assert admin.delete(f"/users/{made.json['data']['id']}").status_code in {200, 204}
    assert admin.post("/users", {"email": VICTIM, "name": "Somebody", "role": "member"}).status_code == 429


@pytest.mark.parametrize(("is_confirmed", "mails"), [(False, 10), (True, 12)])
def test_an_unconfirmed_account_mails_its_address_ten_times_an_hour(
    app: Flask, api: Api, monkeypatch: pytest.MonkeyPatch, is_confirmed: bool, mails: int
) -> None:
    monkeypatch.setitem(app.config, "EMAIL_VERIFICATION", "optional")
    person = api.as_(make_person(app, email=VICTIM, email_verified=is_confirmed))
    for number in range(12):
        assert person.post("/users/me/api-keys", {"name": f"Key {number}", "scopes": []}).status_code == 201
    assert len(mails_to(app, VICTIM)) == mails
