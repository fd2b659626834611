"""Pictures are handed out by their names: the database knows which there are, and nobody else is asked for others."""

from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from models import db
from services import throttle_service
from services.media_stores.folder import Folder
from tests.clients import Api
from tests.conftest import counted
from tests.factories import Person
from tests.integration.own_data.pictures import path_of, picture, put

pytestmark = pytest.mark.usefixtures("folder")

MADE_UP = "/media/" + "0" * 32 + "-64.webp"


@pytest.fixture
def shut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that must not be asked."""

    def fail(self: Folder, name: str) -> bytes:
        raise AssertionError(name)

    monkeypatch.setattr(Folder, "read", fail)


def fetch(app: Flask, path: str, method: str = "GET", address: str = "198.51.100.7") -> Any:
    return app.test_client().open(path, method=method, environ_overrides={"REMOTE_ADDR": address})


def shown(api: Api, person: Person) -> str:
    """Where somebody's new picture is."""
    return path_of(put(api.as_(person), picture()).json["data"]["small"])


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_made_up_name_never_reaches_the_store(app: Flask, shut: None, method: str) -> None:
    with counted() as statements:
        assert fetch(app, MADE_UP, method).status_code == 404
    assert len([sent for sent in statements if "rate_limits" not in sent]) == 1


def test_name_that_is_none_reaches_nobody(app: Flask, shut: None) -> None:
    with counted() as statements:
        assert fetch(app, "/media/x.webp").status_code == 404
        assert fetch(app, "/media/" + "0" * 32 + "-65.webp").status_code == 404
    assert statements == []


def test_picture_costs_one_statement(app: Flask, api: Api, alice: Person) -> None:
    path = shown(api, alice)
    fetch(app, path)
    with counted() as statements:
        assert fetch(app, path).status_code == 200
    assert len(statements) == 1


def test_names_are_found_by_an_index(app: Flask) -> None:
    with app.app_context():
        db.session.execute(text("SET LOCAL enable_seqscan = off"))
        plan = db.session.execute(text("EXPLAIN SELECT id FROM users WHERE picture = 'x'")).scalars()
        assert "uq_users_picture" in " ".join(plan)
        db.session.rollback()


def test_picture_nobody_has_any_more_is_not_shown(app: Flask, api: Api, alice: Person, folder: Path) -> None:
    path = shown(api, alice)
    api.as_(alice).delete("/users/me/picture")
    assert len(list(folder.iterdir())) == 2  # until the worker comes by
    assert fetch(app, path).status_code == 404


def test_made_up_names_are_limited_by_address(app: Flask, api: Api, alice: Person) -> None:
    path = shown(api, alice)
    for _ in range(throttle_service.PICTURE_MISS_BY_ADDRESS.amount):
        assert fetch(app, MADE_UP).status_code == 404
    refused = fetch(app, MADE_UP)
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 0
    assert fetch(app, path).status_code == 200  # the others behind that address go on seeing pictures
    assert fetch(app, MADE_UP, address="198.51.100.8").status_code == 404


def test_pictures_that_are_there_count_for_nothing(app: Flask, api: Api, alice: Person) -> None:
    path = shown(api, alice)
    for _ in range(throttle_service.PICTURE_MISS_BY_ADDRESS.amount + 1):
        fetch(app, path)
    assert fetch(app, MADE_UP).status_code == 404


def test_file_that_is_damaged_is_not_shown(app: Flask, api: Api, alice: Person, folder: Path) -> None:
    path = shown(api, alice)
    file = folder / path.rpartition("/")[2]
    file.write_bytes(file.read_bytes()[:-1])
    assert fetch(app, path).status_code == 503
