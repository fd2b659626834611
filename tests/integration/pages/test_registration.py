"""Sign-up and the confirmation of an address: forms, programs, and everything that must not be told."""

import re
from typing import Any

import pytest
from flask import Flask

from tests.clients import PageClient, browser
from tests.factories import PASSWORD, Person, make_person
from tests.integration.pages.desk import (
    NEW_PASSWORD,
    code_to,
    fingerprint,
    is_signed_in,
    link_to,
    mails_to,
    subjects,
    text_of,
    token_of,
)

DORA = {"name": "Dora Quist", "email": "dora@example.com", "password": PASSWORD}


@pytest.fixture
def dora(app: Flask) -> Person:
    """Dora has registered and not confirmed her address."""
    return make_person(app, "Dora Quist", email="dora@example.com", email_verified=False)


def test_somebody_registers_confirms_by_link_and_signs_in(app: Flask, client: PageClient) -> None:
    registered = client.submit("/auth/register", **DORA)
    assert (registered.status_code, registered.location) == (303, "/auth/check-mail")
    assert "dora@example.com" in client.get(registered.location).text

    opened = client.get(link_to(app, "dora@example.com", "/auth/verify-email"))
    assert (opened.status_code, opened.location) == (303, "/auth/verify-email")
    page = client.get(opened.location)
    token = re.search(r'name="token" value="([^"]+)"', page.text)
    assert token
    confirmed = client.submit("/auth/verify-email", token=token[1])
    assert (confirmed.status_code, confirmed.location) == (303, "/auth/login")
    assert "Your address is confirmed." in client.get("/auth/login").text

    assert not is_signed_in(client)
    assert client.submit("/auth/login", email=DORA["email"], password=PASSWORD).location == "/dashboard"
    assert is_signed_in(client)


def test_the_typed_code_confirms_as_well(app: Flask, client: PageClient) -> None:
    client.submit("/auth/register", **DORA)
    code = code_to(app, "dora@example.com")
    done = client.submit(
        "/auth/verify-email", "/auth/check-mail", email="dora@example.com", code=f"{code[:3]} {code[3:]}"
    )
    assert (done.status_code, done.location) == (303, "/auth/login")


def test_a_wrong_code_is_said_beside_its_field(app: Flask, client: PageClient) -> None:
    client.submit("/auth/register", **DORA)
    right = code_to(app, "dora@example.com")
    wrong = f"{(int(right) + 1) % 10**6:06}"
    refused = client.submit("/auth/verify-email", email="dora@example.com", code=wrong)
    assert refused.status_code == 410
    assert 'id="code-error"' in refused.text
    assert 'value="dora@example.com"' in refused.text


def test_five_wrong_codes_make_the_right_one_worthless(app: Flask, client: PageClient) -> None:
    client.submit("/auth/register", **DORA)
    right = code_to(app, "dora@example.com")
    for step in range(1, 6):
        client.submit(
            "/auth/verify-email", email="dora@example.com", code=f"{(int(right) + step) % 10**6:06}"
        )
    assert client.submit("/auth/verify-email", email="dora@example.com", code=right).status_code == 410


def test_a_code_that_is_no_code_is_invalid(client: PageClient, dora: Person) -> None:
    for code in ("12345", "1234567", "abcdef", "１２３４５６"):
        assert client.submit("/auth/verify-email", email=dora.email, code=code).status_code == 422


def test_programs_register_and_confirm_with_json(app: Flask, client: PageClient) -> None:
    registered = client.post("/auth/register", json=DORA)
    assert (registered.status_code, registered.json["success"]) == (202, True)
    assert registered.json["data"] is None
    token = token_of(link_to(app, "dora@example.com", "/auth/verify-email"))
    confirmed = client.post("/auth/verify-email", json={"token": token})
    assert (confirmed.status_code, confirmed.json["message"]) == (200, "Your address is confirmed.")
    assert client.post("/auth/verify-email", json={"token": token}).json["error"]["code"] == "LINK_EXPIRED"


def test_programs_confirm_with_address_and_code(app: Flask, client: PageClient) -> None:
    client.post("/auth/register", json=DORA)
    body = {"email": "dora@example.com", "code": code_to(app, "dora@example.com")}
    assert client.post("/auth/verify-email", json=body).status_code == 200


def test_a_form_that_accepts_json_gets_the_envelope(client: PageClient) -> None:
    answer = client.post(
        "/auth/register",
        data={"csrf_token": client.token("/auth/register"), **DORA},
        headers={"Accept": "application/json"},
    )
    assert (answer.status_code, answer.json["success"]) == (202, True)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("email", ""),
        ("email", "nobody"),
        ("email", "a@b"),
        ("email", "dora@example.com\r\nBcc: eve@example.com"),
        ("email", f"{'a' * 250}@example.com"),
        ("name", ""),
        ("name", "Dora\x00"),
        ("name", "Dora\nQuist"),
        ("name", "x" * 121),
        ("password", ""),
        ("password", "short"),
        ("password", "passwordpassword"),
        ("password", "dora quist dora"),
        ("password", "x" * 257),
    ],
)
def test_a_wrong_field_is_said_beside_it_and_nothing_is_made(
    app: Flask, client: PageClient, field: str, value: str
) -> None:
    before = fingerprint(app)
    refused = client.submit("/auth/register", **{**DORA, field: value})
    assert refused.status_code == 422
    assert f'id="{field}-error"' in refused.text
    assert "<title>Error: " in refused.text
    assert fingerprint(app) == before


def test_what_was_typed_stays_but_the_password(client: PageClient) -> None:
    page = client.submit("/auth/register", **{**DORA, "email": "nobody"}).text
    assert 'value="nobody"' in page
    assert 'value="Dora Quist"' in page
    assert PASSWORD not in page


def test_the_list_of_errors_names_each_field_in_the_order_of_the_form(client: PageClient) -> None:
    page = client.submit("/auth/register").text
    told = re.findall(r'<a class="error-summary__link" href="#(\w+)">([^<]*)</a>', page)
    assert told == [
        ("name", "Name: This is needed"),
        ("email", "E-mail address: This is needed"),
        ("password", "Password: This is needed"),
    ]


def test_unknown_fields_of_programs_are_refused_by_name(client: PageClient) -> None:
    refused = client.post("/auth/register", json={**DORA, "role": "admin", "email_verified": True})
    assert refused.status_code == 422
    assert {fault["field"] for fault in refused.json["error"]["details"]["errors"]} == {
        "role",
        "email_verified",
    }


def test_unknown_fields_of_a_form_change_nothing(app: Flask, client: PageClient) -> None:
    client.submit("/auth/register", **DORA, role="admin", email_verified="true")
    assert client.submit("/auth/login", email=DORA["email"], password=PASSWORD).status_code == 403


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b'"x"', b"{", b"\xff{}", b'{"email":"a","email":"b"}', b'{"email":NaN}']
)
def test_odd_json_is_a_clear_400(client: PageClient, body: bytes) -> None:
    refused = client.post("/auth/register", data=body, content_type="application/json")
    assert (refused.status_code, refused.json["error"]["code"]) == (400, "MALFORMED_JSON")


# -------------------------------------------------------------------------------- nobody is told who is known


def test_known_and_unknown_addresses_get_the_same_answer(app: Flask, alice: Person) -> None:
    answers = []
    for email in ("alice.new@example.com", alice.email):
        visitor = browser(app)
        answer = visitor.submit("/auth/register", **{**DORA, "email": email})
        page = visitor.get(answer.location)
        answers.append(
            (
                answer.status_code,
                answer.location,
                text_of(answer),
                sorted(answer.headers.keys()),
                text_of(page).replace(email, ""),
            )
        )
    assert answers[0] == answers[1]


def test_known_and_unknown_addresses_get_the_same_json(client: PageClient, alice: Person) -> None:
    bodies = {
        text_of(client.post("/auth/register", json={**DORA, "email": email}))
        for email in ("nobody.yet@example.com", alice.email)
    }
    assert len(bodies) == 1


def test_the_owner_of_a_known_address_is_told_and_nothing_changes(
    app: Flask, client: PageClient, alice: Person
) -> None:
    before = fingerprint(app, ("users", "one_time_tokens", "sessions"))
    client.submit("/auth/register", **{**DORA, "email": alice.email.upper()})
    assert fingerprint(app, ("users", "one_time_tokens", "sessions")) == before
    assert subjects(app, alice.email) == ["You already have an account"]


def test_registering_again_before_confirming_counts_what_is_confirmed(
    app: Flask, client: PageClient, dora: Person
) -> None:
    client.submit("/auth/register", **{**DORA, "password": NEW_PASSWORD})
    token = token_of(link_to(app, dora.email, "/auth/verify-email"))
    client.submit("/auth/verify-email", token=token)
    assert client.submit("/auth/login", email=dora.email, password=PASSWORD).status_code == 401
    assert client.submit("/auth/login", email=dora.email, password=NEW_PASSWORD).status_code == 303


@pytest.mark.parametrize("page", ["/auth/verify-email/request", "/auth/forgot-password"])
@pytest.mark.parametrize("who", ["nobody", "confirmed", "waiting", "suspended", "invited"])
def test_asking_for_a_mail_tells_nobody_whom_we_know(
    app: Flask, page: str, who: str, alice: Person, dora: Person
) -> None:
    columns: dict[str, dict[str, Any]] = {
        "suspended": {"is_active": False, "suspended_at": "2026-01-01", "suspension_reason": "x"},
        "invited": {"password_hash": None, "email_verified": False},
    }
    known = {"confirmed": alice.email, "waiting": dora.email, "nobody": "nobody@example.com"}
    email = known.get(who) or make_person(app, who.title(), **columns[who]).email
    told = [_ask(browser(app), page, address) for address in (email, "stranger@example.com")]
    assert told[0] == told[1]


def _ask(client: PageClient, page: str, email: str) -> tuple[object, ...]:
    form = client.submit(page, email=email)
    json = client.post(page, json={"email": email})
    assert (form.status_code, json.status_code) == (303, 202)
    shown = text_of(client.get(form.location)).replace(email, "")
    return form.location, sorted(form.headers.keys()), text_of(form), shown, text_of(json)


def test_only_who_waits_for_confirmation_gets_the_mail_again(
    app: Flask, client: PageClient, alice: Person, dora: Person
) -> None:
    for email in (alice.email, dora.email, "nobody@example.com"):
        client.submit("/auth/verify-email/request", email=email)
    assert not mails_to(app, alice.email)
    assert not mails_to(app, "nobody@example.com")
    assert subjects(app, dora.email) == ["Confirm your address"]


def test_another_mail_leaves_the_former_link_good(app: Flask, client: PageClient, dora: Person) -> None:
    client.submit("/auth/verify-email/request", email=dora.email)
    former = link_to(app, dora.email, "/auth/verify-email")
    client.submit("/auth/verify-email/request", email=dora.email)
    assert client.get(former).status_code == 303
    fields = {"name": "Dora Quist", "password": NEW_PASSWORD}
    assert client.submit("/auth/verify-email", token=token_of(former), **fields).status_code == 303


def test_the_address_that_could_not_sign_in_is_filled_in_where_the_mail_is_asked_for(
    client: PageClient, dora: Person
) -> None:
    refused = client.submit("/auth/login", email=dora.email, password=dora.password)
    assert refused.status_code == 403
    assert 'href="/auth/verify-email/request"' in refused.text
    assert f'value="{dora.email}"' in client.get("/auth/verify-email/request").text


def test_pages_that_follow_a_mail_lead_back_when_no_mail_was_asked_for(client: PageClient) -> None:
    assert client.get("/auth/check-mail").location == "/auth/verify-email/request"
    assert client.get("/auth/forgot-password/sent").location == "/auth/forgot-password"
