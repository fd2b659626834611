"""No number that anybody is shown moves when a stranger asks about somebody else: it would tell who has an account."""

import base64
import json
import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from pydantic import BaseModel, TypeAdapter
from sqlalchemy import text

from blueprints.http.access import Rule
from blueprints.http.endpoint import Contract
from models import User, db
from services import audit_service, user_service
from services.base_service import unit_of_work
from services.errors import NotFound
from services.schemas.api_key import ApiKeyOut
from services.schemas.identity import IdentityOut
from services.schemas.own_data import ExportAskedOut
from services.schemas.passkey import PasskeyOut
from services.schemas.user import SessionOut
from tests.clients import Api, PageClient
from tests.factories import Person, make_person

X = "xenia@example.com"
NEW = {"name": "Nina Berg", "password": "violet harbour lantern six"}
Door = Callable[[Api, Person], Any]
#: What a stranger, or a member, does to find out about an address.
DOORS: dict[str, Door] = {
    "reset": lambda api, member: api.post("/auth/password/forgot", {"email": X}),
    "verification": lambda api, member: api.post("/auth/verify-email/request", {"email": X}),
    "register": lambda api, member: api.post("/auth/register", {"email": X, **NEW}),
    "sign-in": lambda api, member: api.post("/auth/login", {"email": X, "password": "wrong horse battery"}),
    "own address": lambda api, member: api.as_(member).post(
        "/users/me/email", {"email": X, "current_password": member.password}
    ),
}
WORLDS: dict[str, dict[str, Any] | None] = {
    "nobody": None,
    "known": {},
    "unconfirmed": {"email_verified": False},
    "without a password": {"password_hash": None},
}
#: Integers that a member is shown as the id of something → why they tell nothing.
TOLD_INTEGERS = {
    ("UserOut", "id"): "one's own, and the same for ever; registering takes a number in any case",
    ("OwnEventOut", "id"): "counted for each person: only what happens to oneself moves it",
}
#: Tables with a sequence → why nobody but administrators sees where it stands.
SEQUENCES = {
    "users": "one's own id",
    "audit_events": "to people, their own events bear numbers of their own",
    "identities": "outside they are called by their public_id",
    "known_devices": "never shown",
    "one_time_tokens": "never shown: links bear random tokens",
    "recovery_codes": "never shown",
    "refresh_tokens": "never shown: they are random themselves",
}


def events(member: Api, query: str = "") -> list[dict[str, Any]]:
    """One's own, the oldest first."""
    listed: list[dict[str, Any]] = member.get(f"/users/me/events?sort=id{query}").json["data"]
    return listed


def rename(member: Api, name: str) -> None:
    assert member.patch("/users/me", {"name": name}).status_code == 200


def seen(app: Flask, api: Api, door: Door, columns: dict[str, Any] | None) -> list[Any]:
    """All that a new member sees of events who does something, goes through the door, and does something again."""
    if columns is not None:
        make_person(app, "Xenia", email=X, **columns)
    member = make_person(app, "Mira")
    caller = api.as_(member)
    rename(caller, "Mira A")
    assert door(api, member).status_code in {200, 202, 401}
    rename(caller, "Mira B")
    return [(event["id"], event["action"]) for event in events(caller)]


@pytest.mark.parametrize("world", [world for world in WORLDS if world != "nobody"])
@pytest.mark.parametrize("door", DOORS)
def test_own_events_tell_nobody_who_has_an_account(app: Flask, api: Api, door: str, world: str) -> None:
    nothing = seen(app, api, DOORS[door], None)
    with app.app_context(), unit_of_work():
        db.session.execute(text("DELETE FROM users WHERE email = :email"), {"email": X})
        db.session.execute(text("DELETE FROM one_time_tokens"))
    assert seen(app, api, DOORS[door], WORLDS[world]) == nothing
    assert [number for number, _ in nothing] == list(range(1, len(nothing) + 1))


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("door", DOORS)
def test_ids_of_new_accounts_tell_nobody_who_has_one(app: Flask, api: Api, door: str, world: str) -> None:
    columns = WORLDS[world]
    if columns is not None:
        make_person(app, "Xenia", email=X, **columns)
    member = make_person(app, "Mira")
    before = registered(app, api, "before@example.com")
    DOORS[door](api, member)
    # A registration takes a number, whatever becomes of it.
    assert registered(app, api, "after@example.com") == before + (2 if door == "register" else 1)


def registered(app: Flask, api: Api, email: str) -> int:
    """The id of an account that somebody makes now."""
    assert api.post("/auth/register", {"email": email, **NEW}).status_code == 202
    with app.app_context():
        user = user_service.find_by_email(email)
        assert user is not None
        return user.id


def test_events_of_each_person_are_numbered_by_themselves(
    api: Api, ada: Person, alice: Person, bob: Person
) -> None:
    callers = api.as_(alice), api.as_(bob)
    for turn in range(3):
        for caller in callers:
            rename(caller, f"Somebody {turn}")
    for caller in callers:
        assert [event["id"] for event in events(caller)] == [1, 2, 3]
    listed = api.as_(ada).get(f"/users/{alice.id}/events?sort=id").json["data"]
    assert [event["id"] for event in listed] != [1, 2, 3], "administrators see the log's own ids"


def test_own_events_come_newest_first_and_page_by_number(api: Api, alice: Person) -> None:
    caller = api.as_(alice)
    for turn in range(3):
        rename(caller, f"Alice {turn}")
    first = caller.get("/users/me/events?cursor=&per_page=2").json
    assert [event["id"] for event in first["data"]] == [3, 2]
    cursor = re.search(r"cursor=([^&]+)", first["pagination"]["next"])
    assert cursor
    assert read(cursor[1]) == ["-id", False, [2, 2]], "whoever opens a cursor finds what the list shows"
    rest = caller.get(f"/users/me/events?cursor={cursor[1]}&per_page=2").json["data"]
    assert [event["id"] for event in rest] == [1]


def read(cursor: str) -> Any:
    """What a cursor says to whoever does without its signature."""
    payload = cursor.rpartition(".")[0]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def test_no_page_shows_where_the_log_stands(app: Flask, client: PageClient, alice: Person) -> None:
    start = 7_300_000_000
    with app.app_context(), unit_of_work():
        db.session.execute(text(f"ALTER TABLE audit_events ALTER COLUMN id RESTART WITH {start}"))
    client.sign_in(alice)
    for path in ("/dashboard", "/account/history", "/account/history?per_page=1", "/account/devices"):
        page = client.get(path)
        assert page.status_code == 200
        assert str(start // 1000) not in page.get_data(as_text=True)


def test_a_number_is_never_given_twice(app: Flask, api: Api, alice: Person) -> None:
    """A refused change takes its number back, and a new one follows the latest, not the count of what is left."""
    caller = api.as_(alice)
    rename(caller, "Alice A")
    with app.app_context(), pytest.raises(NotFound), unit_of_work():
        lose_an_event(alice)
    rename(caller, "Alice B")
    with app.app_context(), unit_of_work():
        db.session.execute(text("DELETE FROM event_numbers WHERE user_id = :id"), {"id": alice.id})
    rename(caller, "Alice C")
    assert [event["id"] for event in events(caller)] == [1, 2, 3]


def lose_an_event(person: Person) -> None:
    audit_service.record("account:logout", actor_id=person.id)
    raise NotFound


def test_events_of_a_deleted_account_leave_no_count_behind(app: Flask, alice: Person) -> None:
    with app.app_context():
        for action in ("account:logout", "account:delete"):
            with unit_of_work():
                audit_service.record(action, actor_id=None, target_id=alice.id)
                if action == "account:delete":
                    db.session.delete(db.session.get_one(User, alice.id))
        assert numbers(alice.id) == [1, None]
        assert db.session.scalar(text("SELECT count(*) FROM event_numbers")) == 0


def numbers(person_id: int) -> list[int | None]:
    found = text("SELECT number FROM audit_events WHERE target_id = :id ORDER BY id")
    return list(db.session.scalars(found, {"id": person_id}))


def test_nobody_chooses_a_number(app: Flask, alice: Person, bob: Person) -> None:
    with app.app_context(), unit_of_work():
        for target in (alice.id, bob.id, alice.id, None):
            db.session.execute(
                text(
                    "INSERT INTO audit_events (action, target_id, number) VALUES ('account:logout', :id, 77)"
                ),
                {"id": target},
            )
        assert numbers(alice.id) == [1, 2]
        assert list(db.session.scalars(text("SELECT number FROM audit_events WHERE target_id IS NULL"))) == [
            None
        ]


@pytest.mark.parametrize("schema", [ApiKeyOut, ExportAskedOut, IdentityOut, PasskeyOut, SessionOut])
def test_private_things_have_opaque_ids(schema: type[BaseModel]) -> None:
    assert schema.model_fields["id"].annotation is UUID


def test_every_integer_that_a_member_is_shown_says_why_it_tells_nothing(shared_app: Flask) -> None:
    views = [getattr(view, "contract", None) for view in shared_app.view_functions.values()]
    contracts = [view for view in views if isinstance(view, Contract) and view.allow.permission is None]
    assert len(contracts) > 40
    found = {pair for contract in contracts for pair in integers(contract.out)}
    assert found == set(TOLD_INTEGERS)


def integers(out: Any) -> set[tuple[str, str]]:
    """Schema and field of each integer in an answer that names something."""
    told = TypeAdapter(out).json_schema(mode="serialization")
    schemas = {**told.get("$defs", {}), told.get("title", ""): told}
    return {
        (schema, name)
        for schema, told in schemas.items()
        for name, field in told.get("properties", {}).items()
        if (name == "id" or name.endswith(("_id", "number"))) and '"integer"' in json.dumps(field)
    }


def test_no_address_that_a_member_uses_has_a_number_in_it(shared_app: Flask) -> None:
    """But for `/users/<id>`: one's own, and not found for everybody else's."""
    numbered = [
        rule.rule
        for rule in shared_app.url_map.iter_rules()
        if re.search(r"<(id|int)\b", rule.rule)
        and rule_of(shared_app.view_functions[rule.endpoint]).permission is None
    ]
    assert sorted(set(numbered)) == ["/api/v1/users/<id:user_id>"]


def rule_of(view: Any) -> Rule:
    rule: Rule = view.access
    return rule


def test_every_table_with_a_sequence_says_why_it_is_not_seen() -> None:
    with_sequence = {
        table.name
        for table in db.metadata.sorted_tables
        if any(column.identity is not None for column in table.columns)
    }
    assert with_sequence == set(SEQUENCES)
