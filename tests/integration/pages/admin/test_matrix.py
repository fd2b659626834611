"""Who may do what: the page, and the command that explains one case."""

import json
import re

import pytest
from flask import Flask

from services.permissions import USERS_READ, USERS_WRITE
from tests.clients import PageClient
from tests.factories import Person, make_person, make_role


def rows(page: str) -> dict[str, list[str]]:
    table = page.split('<table class="matrix">')[1]
    found = re.findall(r"<code>([A-Z]+ [^<]+)</code>(.*?)</tr>", table, re.DOTALL)
    return {address: re.findall(r'visually-hidden">(Yes|No)<', row) for address, row in found}


def test_every_address_is_told_with_every_role(app: Flask, desk: PageClient) -> None:
    make_role(app, "keeper", USERS_READ)
    told = rows(desk.get("/admin/roles/matrix").text) | rows(desk.get("/admin/roles/matrix?show=pages").text)
    known = {
        f"{method} " + re.sub(r"<(?:.*?:)?(.*?)>", r"{\1}", rule.rule)
        for rule in app.url_map.iter_rules()
        if rule.endpoint != "static"
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert told.keys() == known
    assert told["GET /api/v1/users"] == ["Yes", "No", "Yes", "No"]  # admin, editor, keeper, member
    assert told["DELETE /api/v1/users/{user_id}"] == ["Yes", "No", "No", "No"]
    assert told["GET /api/v1/users/me"] == ["Yes"] * 4
    assert told["GET /dashboard"] == ["Yes"] * 4


def explained(app: Flask, *words: str) -> tuple[int, str]:
    answer = app.test_cli_runner().invoke(args=["users", "explain", *words])
    return answer.exit_code, answer.output


@pytest.mark.parametrize(
    ("role", "method", "path", "expected"),
    [
        ("member", "GET", "/api/v1/users/me", True),
        ("member", "GET", "/api/v1/users", False),
        ("member", "get", "/admin/users", False),
        ("admin", "GET", "/api/v1/users", True),
        ("admin", "DELETE", "/api/v1/users/5", True),
        ("admin", "PATCH", "/api/v1/users/5/suspend", False),
        ("admin", "GET", "/nowhere", False),
        ("admin", "GET", "/api/v1//users", False),
        ("member", "GET", "/health", True),
    ],
)
def test_an_account_and_an_address_are_explained(
    app: Flask, role: str, method: str, path: str, expected: bool
) -> None:
    person = make_person(app, "Mia", role=role)
    code, told = explained(app, person.email, method, path, "--json")
    verdict = json.loads(told)
    assert verdict["allowed"] is expected
    assert code == (0 if expected else 1)


def test_the_missing_permission_is_named(app: Flask, bob: Person) -> None:
    code, told = explained(app, bob.email, "DELETE", "/api/v1/users/5")
    assert code == 1
    assert f"{USERS_WRITE} is not among them." in told
    assert f"{bob.email} may not DELETE" in told


def test_a_suspended_account_may_nothing_that_asks_who_one_is(app: Flask, ada: Person) -> None:
    runner = app.test_cli_runner()
    make_person(app, "Other", role="admin", password_hash="x")
    assert runner.invoke(args=["users", "deactivate", ada.email]).exit_code == 0
    code, told = explained(app, ada.email, "GET", "/dashboard")
    assert (code, "Suspended" in told) == (1, True)
    assert explained(app, ada.email, "GET", "/")[0] == 0


def test_a_missing_second_step_is_told(app: Flask, ada: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(app.config, "REQUIRE_MFA", "admins")
    code, told = explained(app, ada.email, "GET", "/api/v1/users")
    assert (code, "REQUIRE_MFA" in told) == (1, True)


def test_what_asks_for_a_fresh_sign_in_says_so(app: Flask, ada: Person) -> None:
    code, told = explained(app, ada.email, "POST", "/api/v1/roles")
    assert (code, "within ten minutes" in told) == (0, True)


def test_nobody_is_not_explained(app: Flask) -> None:
    assert explained(app, "nobody@example.com", "GET", "/")[0] == 1


def test_who_may_not_read_roles_sees_no_matrix(app: Flask, client: PageClient, bob: Person) -> None:
    client.sign_in(bob)
    assert client.get("/admin/roles/matrix").status_code == 403
