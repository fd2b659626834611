""" "This was not me" and addresses: the owner gets his back, and whoever took the account gets nothing."""

from datetime import timedelta

import pytest
import time_machine
from flask import Flask

from models.base import now
from tests.clients import Api, PageClient
from tests.factories import Person, make_person
from tests.integration.oidc.desk import actions, column, run
from tests.integration.pages.desk import NEW_PASSWORD, link_to, mails_to, subjects, token_of
from tests.integration.security.not_me import MALLORY, PAGE, email_of, move, one, press, token_in, told

CHANGED = "Your address was changed"
GIVEN_BACK = "An account no longer has your address"
RESET = "Choose a new password"


def is_shut(app: Flask, token: str) -> bool:
    """Whether a link is worth nothing."""
    digest = "SELECT count(*) FROM one_time_tokens WHERE token_hash = sha256(:token)"
    return not one(app, digest, token=token.encode())


def test_the_mail_to_the_former_address_gives_the_account_back(app: Flask, api: Api, alice: Person) -> None:
    move(app, alice, MALLORY)
    page = press(app, token_in(app, alice.email, CHANGED))
    assert email_of(app, alice) == alice.email
    assert "Your former address is back" in page.text
    assert subjects(app, alice.email) == [RESET, CHANGED]
    assert GIVEN_BACK in subjects(app, MALLORY)
    assert RESET not in subjects(app, MALLORY)
    token = token_of(link_to(app, alice.email, "/auth/reset-password"))
    assert api.post("/auth/password/reset", {"token": token, "password": NEW_PASSWORD}).status_code == 200
    login = {"email": alice.email, "password": NEW_PASSWORD}
    assert api.post("/auth/login", login).json["data"]["status"] == "signed_in"
    assert "account:email:restore" in actions(app)


def test_the_page_says_before_that_the_address_comes_back(
    app: Flask, client: PageClient, alice: Person
) -> None:
    move(app, alice, MALLORY)
    client.get(PAGE, query_string={"token": token_in(app, alice.email, CHANGED)})
    page = client.get(PAGE).text
    assert "gets its former address back" in page
    assert "a•••@example.com" in page
    assert MALLORY not in page


def test_any_earlier_mail_to_the_former_address_does_it_too(app: Flask, alice: Person) -> None:
    token = told(app, alice)
    move(app, alice, MALLORY)
    press(app, token)
    assert email_of(app, alice) == alice.email


def test_through_several_changes_the_first_address_comes_back(app: Flask, alice: Person) -> None:
    move(app, alice, MALLORY)
    move(app, alice, "mallory2@example.org")
    press(app, token_in(app, alice.email, CHANGED))
    assert email_of(app, alice) == alice.email


def test_whoever_took_the_account_calls_nothing_back(app: Flask, alice: Person) -> None:
    move(app, alice, MALLORY)
    taken = told(app, alice)
    press(app, token_in(app, alice.email, CHANGED))
    assert is_shut(app, taken)
    assert is_shut(app, token_in(app, MALLORY, CHANGED))


def test_whoever_took_the_account_does_not_silence_its_owner(app: Flask, alice: Person) -> None:
    owners = told(app, alice)
    move(app, alice, MALLORY)
    press(app, token_in(app, MALLORY, CHANGED))
    assert email_of(app, alice) == MALLORY
    press(app, owners)
    assert email_of(app, alice) == alice.email


def test_a_link_that_whoever_took_it_kept_for_later_changes_no_address(app: Flask, alice: Person) -> None:
    """The owner was quick: he was still signed in, and set his address back himself."""
    with time_machine.travel(now(), tick=False) as clock:
        move(app, alice, MALLORY)
        clock.shift(timedelta(days=6))
        move(app, alice, alice.email)
        late = [
            mail
            for mail in mails_to(app, MALLORY)
            if mail.subject == CHANGED and "Before      mallory@example.org" in mail.text
        ]
        clock.shift(timedelta(days=1, minutes=1))  # the first links to both are too old now
        token = late[0].text.partition("token=")[2].split()[0]
        press(app, token)
    assert email_of(app, alice) == alice.email
    assert RESET in subjects(app, alice.email)
    assert RESET not in subjects(app, MALLORY)


def test_after_seven_days_the_new_address_stays(app: Flask, client: PageClient, alice: Person) -> None:
    with time_machine.travel(now(), tick=False) as clock:
        move(app, alice, MALLORY)
        clock.shift(timedelta(days=7))
        token = token_in(app, alice.email, CHANGED)
        assert client.get(PAGE, query_string={"token": token}).status_code == 410


def test_another_spelling_is_the_same_address(app: Flask, alice: Person) -> None:
    move(app, alice, alice.email.upper())
    press(app, told(app, alice))
    assert email_of(app, alice) == alice.email
    assert "account:email:restore" not in actions(app)


# ------------------------------------------------------------------------------------------ taken meanwhile


def test_an_account_that_nobody_confirmed_keeps_no_address_from_its_owner(
    app: Flask, api: Api, alice: Person
) -> None:
    move(app, alice, MALLORY)
    body = {"name": "Mallory", "email": alice.email, "password": NEW_PASSWORD}
    assert api.post("/auth/register", body).status_code == 202
    assert one(app, "SELECT count(*) FROM users WHERE email = :email", email=alice.email) == 1
    press(app, token_in(app, alice.email, CHANGED))
    assert email_of(app, alice) == alice.email
    assert one(app, "SELECT count(*) FROM users WHERE email = :email", email=alice.email) == 1


def test_signing_in_to_what_was_never_confirmed_keeps_no_address_from_its_owner(
    app: Flask, api: Api, client: PageClient, alice: Person, ada: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(app.config, "EMAIL_VERIFICATION", "optional")
    move(app, alice, MALLORY)
    body = {"name": "Mallory", "email": alice.email, "password": NEW_PASSWORD}
    assert api.post("/auth/register", body).status_code == 202
    login = {"email": alice.email, "password": NEW_PASSWORD}
    signed_in = api.post("/auth/login", login).json["data"]
    squatter = Api(app, signed_in["access_token"])
    squatted = squatter.get("/users/me").json["data"]["id"]
    token = token_in(app, alice.email, CHANGED)
    client.get(PAGE, query_string={"token": token})
    assert "never confirmed it, is deleted" in client.get(PAGE).text
    assert "Your former address is back" in press(app, token).text
    assert (email_of(app, alice), column(app, alice.id, "is_active")) == (alice.email, True)
    assert RESET in subjects(app, alice.email)
    assert squatter.get("/users/me").status_code == 401
    assert api.post("/auth/login", login).status_code == 401
    receipt = (
        "SELECT details->>'reason' FROM audit_events WHERE action = 'account:delete' AND target_id = :id"
    )
    assert "never confirmed" in one(app, receipt, id=squatted)


@pytest.mark.parametrize("columns", [{}, {"email_verified": False, "role": "admin"}])
def test_where_another_account_has_the_address_an_administrator_decides(
    app: Flask, api: Api, alice: Person, ada: Person, columns: dict[str, object]
) -> None:
    move(app, alice, MALLORY)
    other = make_person(app, "Alice Again", email=alice.email, **columns)
    page = press(app, token_in(app, alice.email, CHANGED))
    assert "It is in question whose account this is" in page.text
    assert (email_of(app, alice), email_of(app, other)) == (MALLORY, alice.email)
    assert column(app, alice.id, "frozen_at") is not None
    assert column(app, alice.id, "is_active") is False
    for address in (alice.email, MALLORY):
        assert RESET not in subjects(app, address)
    alarm = next(mail for mail in mails_to(app, ada.email) if "this was not me" in mail.subject)
    assert "find out whose it is" in alarm.text
    for path in ("/auth/password/forgot", "/auth/verify-email/request"):
        assert api.post(path, {"email": MALLORY}).status_code == 202
    body = {"name": "Mallory", "email": MALLORY, "password": NEW_PASSWORD}
    api.post("/auth/register", body)
    assert subjects(app, MALLORY) == [CHANGED], "no way back for whoever has it now"


def test_the_owner_comes_back_with_an_administrators_help(app: Flask, api: Api, ada: Person) -> None:
    alice = make_person(app, "Alice", email="alice@example.com")
    move(app, alice, MALLORY)
    make_person(app, "Alice Again", email=alice.email)
    press(app, token_in(app, alice.email, CHANGED))
    admin = api.as_(ada)
    right = "alice.again@example.com"
    assert admin.patch(f"/users/{alice.id}", {"email": right}).status_code == 200
    assert admin.post(f"/users/{alice.id}/reinstate").status_code == 200
    assert api.post("/auth/password/forgot", {"email": right}).status_code == 202
    token = token_of(link_to(app, right, "/auth/reset-password"))
    assert api.post("/auth/password/reset", {"token": token, "password": NEW_PASSWORD}).status_code == 200
    login = {"email": right, "password": NEW_PASSWORD}
    assert api.post("/auth/login", login).json["data"]["status"] == "signed_in"


def test_even_the_last_administrator_is_held(app: Flask, ada: Person) -> None:
    move(app, ada, MALLORY)
    make_person(app, "Somebody", email=ada.email)
    press(app, token_in(app, ada.email, CHANGED))
    assert column(app, ada.id, "is_active") is False


# ----------------------------------------------------------------------------------------- administrators


def test_what_an_administrator_set_is_not_called_back_by_mail(
    app: Flask, api: Api, client: PageClient, alice: Person, ada: Person
) -> None:
    """He may be giving the account back: whoever took it must not undo that."""
    move(app, alice, MALLORY)
    kept = told(app, alice)
    assert api.as_(ada).patch(f"/users/{alice.id}", {"email": "right@example.com"}).status_code == 200
    assert client.get(PAGE, query_string={"token": kept}).status_code == 410
    mail = next(mail for mail in mails_to(app, "right@example.com"))
    assert PAGE not in mail.text
    assert "An administrator changed the address" in mail.text


def test_what_an_administrator_set_for_himself_is(app: Flask, api: Api, ada: Person) -> None:
    """It may have been somebody in his session."""
    assert api.as_(ada).patch(f"/users/{ada.id}", {"email": MALLORY}).status_code == 200
    press(app, token_in(app, ada.email, CHANGED))
    assert email_of(app, ada) == ada.email


def test_a_mail_of_somebody_else_changes_nothing_here(app: Flask, alice: Person, bob: Person) -> None:
    run(app, "UPDATE users SET frozen_at = NULL")
    press(app, told(app, bob))
    assert column(app, alice.id, "frozen_at") is None
