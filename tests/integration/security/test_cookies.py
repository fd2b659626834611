"""Cookies that are odd, doubled, or of another step of a sign-in open nothing (A29, A37 to A39, A80)."""

import pytest
from flask import Flask

from tests.clients import Api, PageClient, browser
from tests.factories import Person
from tests.integration.api.test_second_factor import code_of, enrolled
from tests.integration.pages.desk import is_signed_in

pytestmark = pytest.mark.usefixtures("early_in_a_step")


def cookie(client: PageClient, name: str = "session") -> str:
    found = client.get_cookie(name)
    assert found is not None
    return found.value


def with_cookie(app: Flask, header: str) -> int:
    """The status of the dashboard for a browser that sends this header."""
    return app.test_client(use_cookies=False).get("/dashboard", headers={"Cookie": header}).status_code


def test_each_step_of_a_sign_in_has_another_cookie_and_the_former_open_nothing(
    app: Flask, client: PageClient, api: Api, alice: Person
) -> None:
    secret, _ = enrolled(api, alice)
    client.get("/auth/login")
    seen = [cookie(client)]
    assert client.sign_in(alice).location == "/auth/second-factor"
    seen.append(cookie(client))
    assert client.submit("/auth/second-factor", code=code_of(secret)).location == "/dashboard"
    seen.append(cookie(client))
    client.submit("/auth/reauthenticate", password=alice.password)
    seen.append(cookie(client))
    assert len(set(seen)) == 4
    for former in seen[:-1]:
        thief = browser(app)
        thief.set_cookie("session", former)
        assert not is_signed_in(thief)
    assert is_signed_in(client)


def test_a_second_step_is_not_repeated_with_the_cookie_of_the_first(
    app: Flask, client: PageClient, api: Api, alice: Person
) -> None:
    secret, codes = enrolled(api, alice)
    client.sign_in(alice)
    copy = browser(app)
    copy.set_cookie("session", cookie(client))
    assert client.submit("/auth/second-factor", code=code_of(secret)).location == "/dashboard"
    again = copy.submit("/auth/second-factor?with=recovery-code", recovery_code=codes[0])
    assert again.location == "/auth/login"
    assert not is_signed_in(copy)


@pytest.mark.parametrize(
    "others",
    ["session=x; session={}", "session={}; session=x", "session=; session={}"],
)
def test_of_two_cookies_of_one_name_no_stranger_is_let_in_and_nothing_breaks(
    app: Flask, client: PageClient, alice: Person, bob: Person, others: str
) -> None:
    client.sign_in(alice)
    assert with_cookie(app, others.format(cookie(client))) in {200, 303}
    theirs = browser(app)
    theirs.sign_in(bob)
    both = f"session={cookie(client)}; session={cookie(theirs)}"
    page = (
        app.test_client(use_cookies=False).get("/dashboard", headers={"Cookie": both}).get_data(as_text=True)
    )
    assert (alice.name in page) != (bob.name in page)


@pytest.mark.parametrize(
    "header",
    [
        "session=" + "a" * 9_000,
        "session=\xe9\xff",
        'session="\\000\\377"',
        "session",
        "=x",
        ";;;",
        "session=" + "eyJ" * 100 + ".x.x",
        "; ".join(f"c{number}=x" for number in range(500)),
    ],
    ids=lambda header: header[:24],
)
def test_an_odd_cookie_header_is_nobody(app: Flask, header: str) -> None:
    assert with_cookie(app, header) in {303, 400, 431}


def test_a_known_device_spares_no_second_step(
    app: Flask, client: PageClient, api: Api, alice: Person, bob: Person
) -> None:
    """There is no cookie that stands for a second step; the device's only says "seen before" (A80)."""
    secret, _ = enrolled(api, alice)
    client.sign_in(alice)
    assert client.submit("/auth/second-factor", code=code_of(secret)).location == "/dashboard"
    client.submit("/auth/logout")
    assert client.get_cookie("device") is not None
    assert client.sign_in(alice).location == "/auth/second-factor"
    theirs = browser(app)
    theirs.sign_in(bob)
    thief = browser(app)
    thief.set_cookie("device", cookie(theirs, "device"))
    assert thief.sign_in(alice).location == "/auth/second-factor"


def test_what_knew_a_session_is_kept_in_no_cache(
    app: Flask, client: PageClient, api: Api, alice: Person
) -> None:
    client.sign_in(alice)
    for path in ("/", "/dashboard", "/account/devices", "/auth/login", "/account/history?sort=nope", "/nope"):
        answer = client.get(path)
        assert answer.headers["Cache-Control"] == "no-store", path
        assert "ETag" not in answer.headers, path
    mine = api.as_(alice)
    for path in ("/users/me", "/users/me/sessions", "/users/0"):
        assert mine.get(path).headers["Cache-Control"] == "no-store", path


def test_somebody_elses_session_is_not_there_to_be_ended(api: Api, alice: Person, bob: Person) -> None:
    mine, theirs = api.as_(alice), api.as_(bob)
    (session,) = theirs.get("/users/me/sessions").json["data"]
    assert mine.delete(f"/users/me/sessions/{session['id']}").status_code == 404
    assert theirs.get("/users/me").status_code == 200


def test_an_ended_session_is_refused_at_its_next_call(api: Api, alice: Person) -> None:
    mine, other = api.as_(alice), api.as_(alice)
    target = next(row for row in other.get("/users/me/sessions").json["data"] if row["current"])
    assert mine.delete(f"/users/me/sessions/{target['id']}").status_code == 200
    assert other.get("/users/me").status_code == 401
    assert mine.get("/users/me").status_code == 200
