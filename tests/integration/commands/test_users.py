"""flask users: accounts from the command line."""

import json
import re
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from sqlalchemy import select

from models import AuditEvent, OutboxMail, User, db
from services import password_service
from services.schemas.user import UserOut
from tests.clients import Api, PageClient
from tests.factories import PASSWORD, Person, make_person
from tests.integration.commands.conftest import Run

pytestmark = pytest.mark.integration


def told(result: Result) -> Any:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def stored(app: Flask, email: str) -> User:
    with app.app_context():
        return db.session.scalars(select(User).where(User.email == email)).one()


def events(app: Flask) -> list[tuple[str, int | None]]:
    with app.app_context():
        rows = db.session.execute(select(AuditEvent.action, AuditEvent.actor_id).order_by(AuditEvent.id))
        return [(row.action, row.actor_id) for row in rows]


def mails(app: Flask) -> list[tuple[str, str]]:
    with app.app_context():
        rows = db.session.execute(select(OutboxMail.kind, OutboxMail.to_address))
        return [(row.kind, row.to_address) for row in rows]


# ---- create


def test_account_with_a_password_is_ready_at_once(app: Flask, run: Run, api: Api) -> None:
    words = ("users", "create", "eve@example.com", "--name", "Eve Adebayo", "--role", "editor")
    result = run(*words, "--password-stdin", input=f"{PASSWORD}\n")
    assert result.exit_code == 0
    assert "eve@example.com has an account" in result.stdout
    user = stored(app, "eve@example.com")
    assert (user.role, user.email_verified, user.is_active) == ("editor", True, True)
    response = api.post("/auth/login", {"email": "eve@example.com", "password": PASSWORD})
    assert response.json["data"]["status"] == "signed_in"
    assert ("account:create", None) in events(app)
    assert mails(app) == []


def test_account_without_a_password_gets_a_link_that_sets_one(
    app: Flask, run: Run, client: PageClient
) -> None:
    result = run("users", "create", "eve@example.com", "--name", "Eve Adebayo")
    link = re.search(r"http://localhost(/auth/invitation\?token=\S+)", result.stdout)
    assert link, result.stdout
    user = stored(app, "eve@example.com")
    assert (user.password_hash, user.email_verified) == (None, True)
    assert mails(app) == []
    assert "Welcome, Eve Adebayo" in client.get(link[1], follow_redirects=True).text
    answer = client.submit("/auth/invitation", token=link[1].partition("=")[2], password=PASSWORD)
    assert answer.status_code == 303
    with app.app_context():
        assert password_service.verify(PASSWORD, stored(app, "eve@example.com").password_hash)


def test_json_has_the_shape_of_the_api(run: Run) -> None:
    made = told(run("users", "create", "eve@example.com", "--name", "Eve", "--json"))
    assert list(made) == [*UserOut.model_fields, "link"]
    assert made["link"].startswith("http://localhost/auth/invitation?token=")
    assert list(told(run("users", "show", made["id"], "--json"))) == [*UserOut.model_fields, "frozen_at"]


@pytest.mark.parametrize(
    ("words", "typed", "sentence"),
    [
        (["alice@example.com", "--name", "Alice"], None, "Another account uses this e-mail address."),
        (["ALICE@example.com", "--name", "Alice"], None, "Another account uses this e-mail address."),
        (
            ["eve@example.com", "--name", "Eve", "--role", "boss"],
            None,
            "role: Must be one of: admin, editor, member.",
        ),
        (["eve", "--name", "Eve"], None, "email: Enter an e-mail address in the form name@example.com."),
        (["eve@example.com", "--name", " "], None, "name: "),
        (
            ["eve@example.com", "--name", "Eve", "--password-stdin"],
            "short\n",
            "password: Use at least 15 characters",
        ),
        (
            ["eve@example.com", "--name", "Eve", "--password-stdin"],
            "passwordpassword\n",
            "password: This password is on lists of stolen ones",
        ),
    ],
)
def test_refusal_is_one_sentence_and_exit_code_1(
    app: Flask, run: Run, words: list[str], typed: str | None, sentence: str
) -> None:
    make_person(app, "Alice Lindqvist", email="alice@example.com")
    result = run("users", "create", *words, input=typed)
    assert result.exit_code == 1
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    with app.app_context():
        assert db.session.scalar(select(User.id).where(User.email == "eve@example.com")) is None


@pytest.mark.parametrize(
    "words",
    [
        ["users", "create", "eve@example.com"],
        ["users", "create", "--name", "Eve"],
        ["users", "create", "eve@example.com", "--name", "Eve", "--password-stdin"],
        ["users", "list", "--status", "asleep"],
        ["users", "set-role", "eve@example.com"],
        ["users", "wave"],
    ],
)
def test_wrong_use_is_exit_code_2(run: Run, words: list[str]) -> None:
    result = run(*words, input="")
    assert result.exit_code == 2
    assert "Usage:" in result.stderr


def test_password_is_told_nowhere(app: Flask, run: Run) -> None:
    result = run(
        "users", "create", "eve@example.com", "--name", "Eve", "--password-stdin", input=f"{PASSWORD}\n"
    )
    assert PASSWORD not in result.output
    with app.app_context():
        assert PASSWORD not in str([row.details for row in db.session.scalars(select(AuditEvent))])


# ---- list and show


def test_list_is_filtered(app: Flask, run: Run, alice: Person, ada: Person) -> None:
    make_person(app, "Sam Gone", is_active=False, suspended_at=db.func.now())
    assert [row["id"] for row in told(run("users", "list", "--json"))] == sorted(
        [alice.id, ada.id, ada.id + 1]
    )
    assert [row["email"] for row in told(run("users", "list", "--role", "admin", "--json"))] == [ada.email]
    assert [row["email"] for row in told(run("users", "list", "--q", "lindq", "--json"))] == [alice.email]
    assert [row["name"] for row in told(run("users", "list", "--status", "suspended", "--json"))] == [
        "Sam Gone"
    ]
    assert told(run("users", "list", "--q", "nobody", "--json")) == []


def test_list_says_when_there_is_more(run: Run, alice: Person, bob: Person) -> None:
    result = run("users", "list", "--limit", "1")
    assert alice.email in result.stdout
    assert bob.email not in result.stdout
    assert "more than 1" in result.stderr
    assert run("users", "list", "--limit", "2").stderr == ""


def test_list_reads_beyond_one_page(app: Flask, run: Run) -> None:
    with app.app_context():
        db.session.add_all([User(email=f"n{number}@example.com", name="N") for number in range(130)])
        db.session.commit()
    rows = told(run("users", "list", "--json"))
    assert len({row["id"] for row in rows}) == 130
    assert len(told(run("users", "list", "--limit", "120", "--json"))) == 120


def test_account_is_shown_by_id_or_address(run: Run, alice: Person) -> None:
    by_id, by_address = run("users", "show", alice.id), run("users", "show", alice.email.upper())
    assert by_id.stdout == by_address.stdout
    assert alice.name in by_id.stdout


@pytest.mark.parametrize("command", ["show", "deactivate", "activate", "delete", "set-role"])
@pytest.mark.parametrize("who", ["nobody@example.com", "999", "9" * 30, "-1x"])
def test_unknown_account_is_told(run: Run, command: str, who: str) -> None:
    result = run("users", command, "--", who, *(["admin"] if command == "set-role" else []))
    assert result.exit_code == 1
    assert "There is no account" in result.stderr


# ---- change


def test_role_is_given_and_the_person_told(app: Flask, run: Run, alice: Person) -> None:
    assert told(run("users", "set-role", alice.email, "editor", "--json"))["role"] == "editor"
    assert ("account:role:change", None) in events(app)
    assert ("role_changed", alice.email) in mails(app)


def test_suspended_account_is_out_at_once_and_in_again_later(
    app: Flask, run: Run, api: Api, alice: Person
) -> None:
    caller = api.as_(alice)
    assert caller.get("/users/me").status_code == 200
    suspended = told(run("users", "deactivate", alice.email, "--reason", "Left the company.", "--json"))
    assert suspended["is_active"] is False
    assert caller.get("/users/me").status_code == 401
    assert stored(app, alice.email).suspension_reason == "Left the company."
    assert told(run("users", "activate", alice.email, "--json"))["is_active"] is True
    assert [kind for kind, _ in mails(app)] == ["suspended", "reinstated"]
    assert [action for action, actor in events(app) if actor is None] == [
        "account:suspend",
        "account:reinstate",
    ]


def test_deleted_account_is_gone_and_its_events_stay(app: Flask, run: Run, alice: Person) -> None:
    assert told(run("users", "delete", alice.email, "--yes", "--json"))["email"] == alice.email
    assert run("users", "show", alice.email).exit_code == 1
    assert ("account:delete", None) in events(app)


def test_deletion_asks_first(run: Run, alice: Person) -> None:
    asked = run("users", "delete", alice.email, input="n\n")
    assert asked.exit_code == 1
    assert f"Delete {alice.email} (Alice Lindqvist) for good?" in asked.stderr
    assert run("users", "delete", alice.email, input="").exit_code == 1
    assert run("users", "show", alice.email).exit_code == 0
    assert run("users", "delete", alice.email, input="y\n").exit_code == 0


@pytest.mark.parametrize("words", [["set-role", "member"], ["deactivate"], ["delete", "--yes"]])
def test_last_administrator_stays(run: Run, ada: Person, words: list[str]) -> None:
    command, *rest = words
    result = run("users", command, ada.email, *rest)
    assert result.exit_code == 1
    assert "last active administrator" in result.stderr
    shown = told(run("users", "show", ada.email, "--json"))
    assert (shown["role"], shown["is_active"]) == ("admin", True)


def test_what_is_so_already_is_told(run: Run, alice: Person) -> None:
    assert "not suspended" in run("users", "activate", alice.email).stderr
    run("users", "deactivate", alice.email)
    assert "suspended already" in run("users", "deactivate", alice.email).stderr


def test_a_frozen_account_is_told_as_such(app: Flask, run: Run) -> None:
    alice = make_person(app, "Alice Lindqvist", frozen_at=db.func.now())
    assert "frozen" in run("users", "list").output
    assert "frozen" in run("users", "show", alice.email).output
    assert told(run("users", "show", alice.email, "--json"))["frozen_at"]
    explained = run("users", "explain", alice.email, "PATCH", "/api/v1/users/me")
    assert explained.exit_code == 1
    assert "No way in until the password is reset" in explained.output


@pytest.mark.parametrize("email", ["=?utf-8?q?victim=40example.org?=@example.com", "mi\u212ae@example.com"])
def test_an_address_that_is_read_as_another_makes_no_account(app: Flask, run: Run, email: str) -> None:
    refused = run("users", "create", email, "--name", "Mike")
    assert refused.exit_code != 0
    assert "name@example.com" in refused.stderr
    with app.app_context():
        assert db.session.scalars(select(User)).all() == []


@pytest.mark.parametrize("spelling", ["MIKE@b\u00fccher.example", "mike@XN--BCHER-KVA.example"])
def test_an_account_is_found_by_any_spelling_of_its_address(app: Flask, run: Run, spelling: str) -> None:
    mike = make_person(app, "Mike", email="mike@b\u00fccher.example")
    assert told(run("users", "show", spelling, "--json"))["id"] == mike.id
    assert run("users", "show", "m\u0130ke@b\u00fccher.example").exit_code != 0
