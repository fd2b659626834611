""" "This was not me": what one press does, and that it can be pressed once."""

import json
from datetime import timedelta

import pytest
import time_machine
from flask import Flask

from models.base import now
from services import link_service
from services.base_service import unit_of_work
from services.user_service import load
from tests.authenticator import Authenticator
from tests.clients import Api, PageClient, browser
from tests.conftest import counted
from tests.factories import Person, make_person
from tests.integration.api.passkeys import add, owned, sign_in
from tests.integration.oidc.desk import actions, column, run
from tests.integration.pages.desk import (
    NEW_PASSWORD,
    fingerprint,
    is_signed_in,
    link_to,
    mails_to,
    subjects,
    token_of,
)
from tests.integration.pages.links import at_once
from tests.integration.security.not_me import PAGE, one, press, token_in, told
from tests.state import unchanged

# --------------------------------------------------------------------------------------------- what it does


def test_everybody_is_out_and_the_password_opens_nothing(app: Flask, api: Api, alice: Person) -> None:
    thief, program = browser(app), api.as_(alice)
    thief.sign_in(alice)
    pair = api.post("/auth/login", {"email": alice.email, "password": alice.password}).json["data"]
    key = program.post("/users/me/api-keys", {"name": "Backup", "scopes": []}).json["data"]["key"]
    page = press(app, token_in(app, alice.email, "A new API key was made"))
    assert page.status_code == 200
    assert "Your account is shut" in page.text
    assert not is_signed_in(thief)
    assert program.get("/users/me").status_code == 401
    assert Api(app, key).get("/users/me").status_code == 401
    assert api.post("/auth/refresh", {"refresh_token": pair["refresh_token"]}).status_code == 401
    assert api.post("/auth/login", {"email": alice.email, "password": alice.password}).status_code == 401
    for table in ("sessions", "refresh_tokens", "api_keys", "known_devices", "challenges"):
        assert one(app, f"SELECT count(*) FROM {table}") == 0, table


def test_the_way_back_is_a_mailed_link_and_nobody_is_signed_in_on_it(
    app: Flask, api: Api, client: PageClient, alice: Person
) -> None:
    press(app, told(app, alice), client)
    assert not is_signed_in(client)
    token = token_of(link_to(app, alice.email, "/auth/reset-password"))
    assert api.post("/auth/password/reset", {"token": token, "password": NEW_PASSWORD}).status_code == 200
    assert column(app, alice.id, "frozen_at") is None
    login = {"email": alice.email, "password": NEW_PASSWORD}
    assert api.post("/auth/login", login).json["data"]["status"] == "signed_in"


def test_what_was_added_lately_to_sign_in_with_is_gone_and_what_is_older_stays(
    app: Flask, api: Api, alice: Person
) -> None:
    old = owned(api, alice)
    then = now() - timedelta(days=8)
    run(app, "UPDATE passkeys SET created_at = :then", then=then)
    run(app, "UPDATE recovery_codes SET created_at = :then", then=then)
    planted, caller = Authenticator(), api.as_(alice)
    assert add(caller, planted, "Planted").status_code == 201
    caller.post("/users/me/totp")
    insert = "INSERT INTO identities (user_id, issuer, subject) VALUES (:id, 'https://issuer', 'mallory')"
    run(app, insert, id=alice.id)
    press(app, token_in(app, alice.email, "A second step was added"))
    assert one(app, "SELECT count(*) FROM passkeys") == 1
    assert one(app, "SELECT count(*) FROM recovery_codes") == 10
    assert one(app, "SELECT count(*) FROM totp_credentials") == 0
    assert one(app, "SELECT count(*) FROM identities") == 0
    assert column(app, alice.id, "has_second_factor") is True
    run(app, "UPDATE users SET frozen_at = NULL")
    assert sign_in(api, planted).status_code == 401
    assert sign_in(api, old).status_code == 200


def test_without_a_second_step_left_none_is_asked_for(app: Flask, api: Api, alice: Person) -> None:
    owned(api, alice)
    press(app, token_in(app, alice.email, "A second step was added"))
    assert column(app, alice.id, "has_second_factor") is False
    assert one(app, "SELECT count(*) FROM recovery_codes") == 0


def test_a_deletion_is_called_off_and_a_copy_is_gone_with_its_link(
    app: Flask, api: Api, client: PageClient, alice: Person
) -> None:
    caller = api.as_(alice)
    caller.post("/users/me/export")
    caller.delete("/users/me")
    run(app, "UPDATE data_exports SET status = 'ready', content_encrypted = 'x'")
    with app.app_context(), unit_of_work():
        user = load(alice.id)
        copy = link_service.make_download(user, until=now() + timedelta(days=1))
    restore = token_of(link_to(app, alice.email, "/account/restore"))
    press(app, token_in(app, alice.email, "Your account will be deleted"))
    assert column(app, alice.id, "deletes_at") is None
    assert one(app, "SELECT count(*) FROM data_exports") == 0
    assert client.get("/account/export/download", query_string={"token": copy}).status_code == 410
    assert client.get("/account/restore", query_string={"token": restore}).status_code == 410
    details = one(app, "SELECT details FROM audit_events WHERE action = 'account:not_me'")
    assert (details["deletion"], details["export"]) == (True, True)


def test_links_that_were_under_way_die(app: Flask, api: Api, client: PageClient, alice: Person) -> None:
    caller = api.as_(alice)
    body = {"email": "mallory@example.org", "current_password": alice.password}
    assert caller.post("/users/me/email", body).status_code == 202
    confirm = link_to(app, "mallory@example.org", "/auth/confirm-email")
    press(app, token_in(app, alice.email, "Your address is about to change"))
    assert client.get(confirm).status_code == 410


def test_it_is_recorded_with_where_it_came_from_and_shown_to_the_owner(app: Flask, alice: Person) -> None:
    press(app, told(app, alice))
    assert "account:not_me" in actions(app)
    event = one(
        app,
        "SELECT row_to_json(e) FROM audit_events e WHERE action = 'account:not_me'",
    )
    assert (event["actor_id"], event["target_id"], event["ip"]) == (None, alice.id, "127.0.0.1")
    assert alice.email not in json.dumps(event["details"])


def test_every_administrator_gets_one_mail_in_one_statement(app: Flask, alice: Person, ada: Person) -> None:
    others = [make_person(app, f"Ada {number}", role="admin") for number in ("Two", "Three")]
    make_person(app, "Adam Unsure", role="admin", email="unsure@example.com", email_verified=False)
    make_person(app, "Adam Shut", role="admin", email="shut@example.com", frozen_at=now())
    token = told(app, alice)
    client = browser(app)
    csrf = client.token()
    with counted() as statements:
        client.post(PAGE, data={"csrf_token": csrf, "token": token})
    alarm = "Somebody says: this was not me"
    for admin in (ada, *others):
        mails = [mail for mail in mails_to(app, admin.email) if mail.subject == alarm]
        assert len(mails) == 1
        assert alice.email in mails[0].text
        assert f"/admin/users/{alice.id}" in mails[0].text
    for nobody in ("unsure@example.com", "shut@example.com", alice.email):
        assert alarm not in subjects(app, nobody)
    assert sum("INSERT INTO outbox" in statement for statement in statements) == 2, "owner, administrators"


def test_without_an_administrator_it_works_all_the_same(app: Flask, alice: Person) -> None:
    assert press(app, told(app, alice)).status_code == 200


# ------------------------------------------------------------------------------------------- once, and only so


def test_opening_it_shows_what_will_happen_and_changes_nothing(
    app: Flask, client: PageClient, alice: Person
) -> None:
    client.sign_in(alice)
    token, scanner = told(app, alice), browser(app)
    before = fingerprint(app)
    for method in ("GET", "HEAD", "GET"):
        scanner.open(PAGE, method=method, query_string={"token": token})
        scanner.open(PAGE, method=method)
    assert fingerprint(app) == before
    page = scanner.get(PAGE).text
    assert "This was not you?" in page
    assert "a•••@example.com" in page
    assert alice.email not in page
    assert is_signed_in(client)


def test_the_button_needs_the_forms_token(app: Flask, client: PageClient, alice: Person) -> None:
    token = told(app, alice)
    with unchanged(app):
        assert client.post(PAGE, data={"token": token}).status_code == 403
        elsewhere = {"Origin": "https://evil.example"}
        assert client.post(PAGE, json={"token": token}, headers=elsewhere).status_code == 403


def test_neither_page_nor_answer_tells_an_address_in_full(
    app: Flask, client: PageClient, alice: Person
) -> None:
    page = press(app, told(app, alice))
    assert alice.email not in page.text
    answer = client.post(PAGE, json={"token": told(app, alice)})
    assert answer.json["data"] == {"mailed_to": "a•••@example.com", "gives_back": False, "is_held": False}
    assert alice.email not in answer.get_data(as_text=True)


def test_pressed_twice_it_says_that_it_may_be_done_already(
    app: Flask, client: PageClient, alice: Person
) -> None:
    token = told(app, alice)
    press(app, token)
    again = client.submit(PAGE, "/auth/login", token=token)
    assert again.status_code == 410
    assert "Pressed it already?" in again.text
    program = client.post(PAGE, json={"token": token})
    assert (program.status_code, program.json["error"]["code"]) == (410, "LINK_EXPIRED")


def test_every_mail_has_its_own_link_and_each_works(app: Flask, client: PageClient, alice: Person) -> None:
    tokens = {told(app, alice) for _ in range(3)}
    assert len(tokens) == 3
    for token in tokens:
        assert client.get(PAGE, query_string={"token": token}).status_code == 303
        assert client.get(PAGE).status_code == 200


def test_the_other_links_to_this_address_are_done_with(app: Flask, alice: Person, client: PageClient) -> None:
    first, second = told(app, alice), told(app, alice)
    press(app, second)
    assert client.submit(PAGE, "/auth/login", token=first).status_code == 410


def test_a_change_of_the_password_does_not_silence_the_link(app: Flask, api: Api, alice: Person) -> None:
    token = told(app, alice)
    body = {"current_password": alice.password, "new_password": NEW_PASSWORD}
    assert api.as_(alice).post("/users/me/password", body).status_code == 200
    assert press(app, token).status_code == 200


def test_it_is_good_for_seven_days(app: Flask, client: PageClient, alice: Person) -> None:
    with time_machine.travel(now(), tick=False) as clock:
        token = told(app, alice)
        clock.shift(timedelta(days=7, seconds=-1))
        assert client.get(PAGE, query_string={"token": token}).status_code == 303
        clock.shift(1)
        assert client.submit(PAGE, "/auth/login", token=token).status_code == 410
    assert column(app, alice.id, "frozen_at") is None


def test_guessing_has_to_wait(client: PageClient) -> None:
    statuses = [client.post(PAGE, json={"token": f"guess {number}"}).status_code for number in range(21)]
    assert statuses[:20] == [410] * 20
    assert statuses[20] == 429


def test_the_page_of_what_was_done_is_for_whoever_did_it(client: PageClient) -> None:
    answer = client.get(f"{PAGE}/done")
    assert (answer.status_code, answer.location) == (303, "/auth/forgot-password")


@pytest.mark.real_database
def test_of_two_presses_at_once_one_does_it(app: Flask) -> None:
    alice, ada = make_person(app, "Alice"), make_person(app, "Ada", role="admin")
    for _ in range(3):
        run(app, "UPDATE users SET frozen_at = NULL")
        one_mail = told(app, alice)
        assert at_once(app, PAGE, {"token": one_mail}) == [200, 410]
        run(app, "UPDATE users SET frozen_at = NULL")
        two_mails = [{"token": told(app, alice)} for _ in range(2)]
        assert at_once(app, PAGE, *two_mails) == [200, 410]
    assert actions(app).count("account:not_me") == 6
    assert len(mails_to(app, ada.email)) == 6
