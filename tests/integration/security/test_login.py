"""Signing in by password: guesses, enumeration, and what a password may be (security cases A14 to A27)."""

import statistics
import time
from datetime import timedelta
from typing import Any

import pytest
import time_machine

from models import User, db
from models.base import now
from services import password_service
from services.base_service import unit_of_work
from tests.clients import Api
from tests.factories import PASSWORD, Person, make_person

VARIES = {"X-Request-ID", "Date"}


def login(api: Api, email: str, password: str, **headers: str) -> Any:
    return api.post("/auth/login", {"email": email, "password": password}, headers=headers)


def seen(answer: Any) -> tuple[int, str, dict[str, str]]:
    """What a caller can compare: status, body and headers without request id and time."""
    body = answer.get_json()
    body["timestamp"] = body["error"]["request_id"] = "-"
    headers = {name: value for name, value in answer.headers if name not in VARIES}
    for changing in ("RateLimit-Remaining", "RateLimit-Reset"):
        headers.pop(changing, None)
    return answer.status_code, str(body), headers


def test_no_answer_tells_why_a_sign_in_failed(api: Api, alice: Person) -> None:
    suspended = make_person(api.app, "Sus Pended", is_active=False, suspended_at=now())
    unverified = make_person(api.app, "Un Verified", email_verified=False)
    without = make_person(api.app, "No Password", password_hash=None)
    answers = [
        seen(login(api, "nobody@example.com", "wrong horse battery")),
        seen(login(api, alice.email, "wrong horse battery")),
        seen(login(api, suspended.email, suspended.password)),
        seen(login(api, unverified.email, "wrong horse battery")),
        seen(login(api, without.email, PASSWORD)),
    ]
    assert answers[0][0] == 401
    assert "INVALID_CREDENTIALS" in answers[0][1]
    assert all(answer == answers[0] for answer in answers)


def test_no_time_tells_whether_an_account_exists(api: Api) -> None:
    """Every failing sign-in costs one hash, so the medians lie close together."""
    api.app.config["RATELIMIT_ENABLED"] = False
    kept = api.app.extensions["hashing"]
    api.app.extensions["hashing"] = password_service.Hashing(memory_kib=4096, time_cost=1)
    try:
        known = make_person(api.app, "Known Person")
        times: dict[str, list[float]] = {known.email: [], "nobody@example.com": []}
        for _ in range(40):
            for email, taken in times.items():
                began = time.process_time()
                login(api, email, "wrong horse battery")
                taken.append(time.process_time() - began)
    finally:
        api.app.config["RATELIMIT_ENABLED"] = True
        api.app.extensions["hashing"] = kept
    one, other = (statistics.median(taken) for taken in times.values())
    assert 0.5 < one / other < 2


def test_the_eleventh_try_has_to_wait_even_with_the_right_password(api: Api, alice: Person) -> None:
    answers = [login(api, alice.email, "wrong horse battery") for _ in range(11)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
    right = login(api, alice.email, alice.password)
    assert right.status_code == 429
    assert right.json["error"]["code"] == "RATE_LIMITED"
    assert 25 <= int(right.headers["Retry-After"]) <= 30
    assert right.headers["Retry-After"] == answers[-1].headers["Retry-After"]
    assert seen(right) == seen(answers[-1])


def test_an_unknown_account_has_the_same_limit(api: Api) -> None:
    codes = [login(api, "nobody@example.com", "wrong horse battery").status_code for _ in range(11)]
    assert codes == [401] * 10 + [429]


def test_the_first_wait_ends_after_half_a_minute(api: Api, alice: Person) -> None:
    for _ in range(11):
        login(api, alice.email, "wrong horse battery")
    with time_machine.travel(now() + timedelta(seconds=31)):
        assert login(api, alice.email, alice.password).status_code == 200


def test_failures_count_for_the_address_too(api: Api, alice: Person) -> None:
    codes = [login(api, f"somebody{n}@example.com", "wrong horse battery").status_code for n in range(21)]
    assert codes == [401] * 20 + [429]
    assert login(api, alice.email, alice.password).status_code == 429


def test_own_success_between_guesses_does_not_free_the_address(api: Api, alice: Person) -> None:
    codes = []
    for n in range(11):
        codes += [
            login(api, f"victim{m}@example.com", "wrong horse battery").status_code for m in (n, n + 50)
        ]
        login(api, alice.email, alice.password)
    assert codes[-1] == 429


def test_a_new_forwarded_address_each_time_does_not_help(api: Api, alice: Person) -> None:
    codes = [
        login(
            api,
            alice.email,
            "wrong horse battery",
            **{"X-Forwarded-For": f"203.0.113.{n}", "X-Real-IP": f"203.0.113.{n}"},
        )
        for n in range(11)
    ]
    assert [answer.status_code for answer in codes] == [401] * 10 + [429]


def test_the_limit_of_one_door_holds_at_the_others(api: Api, alice: Person) -> None:
    token = api.as_(alice)
    for _ in range(10):
        login(api, alice.email, "wrong horse battery")
    change = {"current_password": "wrong horse battery", "new_password": "another lantern in rain"}
    assert token.post("/users/me/password", change).status_code == 429
    client: Any = api.app.test_client()
    assert client.sign_in(alice).status_code == 429


@pytest.mark.parametrize("password", [123456, True, None, [], {"$ne": ""}, ["x"]])
def test_a_password_that_is_no_text_is_refused_by_name(api: Api, alice: Person, password: object) -> None:
    answer = api.post("/auth/login", {"email": alice.email, "password": password})
    assert answer.status_code == 422
    assert answer.json["error"]["details"]["field"] == "password"


def test_a_password_of_a_mebibyte_is_refused_before_it_is_hashed(api: Api, alice: Person) -> None:
    began = time.process_time()
    answer = login(api, alice.email, "x" * (1024 * 1024))
    assert answer.status_code in {413, 422}
    assert time.process_time() - began < 0.1


def test_every_character_of_a_password_counts(api: Api) -> None:
    exact = "  Lantern orchid ñ 🌷 gravel "
    person = make_person(api.app, "Exact Person", password=exact)
    for wrong in (exact.strip(), exact.lower(), exact.replace("🌷", ""), f"{exact} "):
        assert login(api, person.email, wrong).status_code == 401
    assert login(api, person.email, exact).status_code == 200


def test_passwords_that_share_their_first_72_bytes_differ(api: Api) -> None:
    long = "lantern orchid gravel " * 5
    person = make_person(api.app, "Long Password", password=f"{long}one")
    assert login(api, person.email, f"{long}two").status_code == 401
    assert login(api, person.email, f"{long}one").status_code == 200


def test_a_composed_and_a_decomposed_letter_are_the_same_key(api: Api) -> None:
    person = make_person(api.app, "Compo Sed", password="café lantern orchid")
    assert login(api, person.email, "cafe\u0301 lantern orchid").status_code == 200


def test_an_old_hash_is_renewed_at_the_next_sign_in(api: Api, alice: Person) -> None:
    weak = password_service.Hashing(memory_kib=8, time_cost=3).hasher.hash(alice.password)
    with api.app.app_context(), unit_of_work():
        db.session.get_one(User, alice.id).password_hash = weak
    assert login(api, alice.email, alice.password).status_code == 200
    with api.app.app_context():
        kept = db.session.get_one(User, alice.id).password_hash
    assert kept is not None
    assert kept != weak
    assert "t=1" in kept


def test_a_sign_in_is_recorded_with_where_it_came_from(api: Api, ada: Person, alice: Person) -> None:
    login(api, alice.email, "wrong horse battery", **{"User-Agent": "curl/8.9"})
    login(api, alice.email, alice.password)
    reader = api.as_(ada)
    events = reader.get(f"/audit-events?filter[target_id]={alice.id}&filter[action]=account:login").json[
        "data"
    ]
    assert [event["action"] for event in events] == ["account:login:success", "account:login:failure"]
    assert events[1]["user_agent"] == "curl/8.9"
    assert events[1]["actor_id"] is None


def test_an_address_that_is_not_confirmed_gets_no_session(api: Api) -> None:
    person = make_person(api.app, "Un Verified", email_verified=False)
    answer = login(api, person.email, person.password)
    assert answer.status_code == 403
    assert answer.json["error"]["details"] == {"reason": "email_not_verified"}
