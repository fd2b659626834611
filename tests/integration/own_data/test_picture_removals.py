"""Files of pictures go after the commit, by the worker: at least once, and never somebody's."""

import errno
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import func, select, text, update

from models import db
from models.base import now
from models.picture_removal import PictureRemoval
from services import deletion_service, media_service, picture_removal_service, picture_service, worker
from services.base_service import unit_of_work
from services.errors import Unavailable
from services.media_stores.folder import Folder
from tests.clients import Api
from tests.factories import Person
from tests.integration.own_data.pictures import files, name_of, picture, put, work_off

FILES = {256: picture("WEBP"), 64: picture("WEBP")}


@pytest.fixture(autouse=True)
def _in_folder(folder: Path) -> Path:
    return folder


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A store that neither keeps nor removes anything until the block ends."""

    class Away:
        def __enter__(self) -> None:
            monkeypatch.setattr(Path, "unlink", refuse)
            monkeypatch.setattr(Path, "write_bytes", refuse)

        def __exit__(self, *told: object) -> None:
            monkeypatch.undo()

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EIO, "no")

    return Away()


def kept(name: str) -> None:
    """Files that nobody's picture names."""
    media_service.save(name, FILES)


def removals(app: Flask) -> list[tuple[str, int]]:
    with app.app_context():
        rows = db.session.execute(select(PictureRemoval.name, PictureRemoval.attempts)).all()
        return sorted((row.name, row.attempts) for row in rows)


def make_due(app: Flask) -> None:
    with app.app_context(), unit_of_work():
        db.session.execute(update(PictureRemoval).values(available_at=func.now() - timedelta(seconds=1)))


def leave(app: Flask, person: Person) -> int:
    """Let the time of an account come that asked to be deleted."""
    Api(app).as_(person).delete("/users/me")
    with time_machine.travel(now() + timedelta(days=15)), app.app_context():
        return deletion_service.erase_due()


def test_picture_goes_with_the_account(
    app: Flask, api: Api, ada: Person, alice: Person, folder: Path
) -> None:
    put(api.as_(alice), picture())
    assert api.as_(ada).delete(f"/users/{alice.id}").status_code == 200
    assert work_off(app) == 1
    assert files(folder) == []
    assert removals(app) == []


def test_account_is_deleted_while_the_store_is_away(
    app: Flask, api: Api, alice: Person, folder: Path, away: Any
) -> None:
    put(api.as_(alice), picture())
    with away:
        assert leave(app, alice) == 1
        assert work_off(app) == 0
        assert len(files(folder)) == 2
    make_due(app)
    assert work_off(app) == 1
    assert files(folder) == []
    assert removals(app) == []


def test_picture_is_removed_while_the_store_is_away(
    app: Flask, api: Api, alice: Person, folder: Path, away: Any
) -> None:
    caller = api.as_(alice)
    put(caller, picture())
    with away:
        assert caller.delete("/users/me/picture").status_code == 200
        assert work_off(app) == 0
    assert name_of(app, alice) is None
    make_due(app)
    assert work_off(app) == 1
    assert files(folder) == []


def test_what_was_rolled_back_removes_nothing(app: Flask, api: Api, alice: Person, folder: Path) -> None:
    put(api.as_(alice), picture())
    name = str(name_of(app, alice))

    def refuse() -> None:
        with unit_of_work():
            picture_removal_service.ask(name)
            raise Unavailable

    with app.app_context(), pytest.raises(Unavailable):
        refuse()
    assert work_off(app) == 0
    assert len(files(folder)) == 2


def test_all_wait_while_the_store_is_away(app: Flask, away: Any) -> None:
    with app.app_context(), unit_of_work():
        for letter in "abc":
            picture_removal_service.ask(letter * 32)
    with away:
        assert work_off(app) == 0
        assert work_off(app) == 0
    assert [attempts for _, attempts in removals(app)].count(1) == 1
    with app.app_context():
        due = db.session.scalar(
            select(func.count()).where(PictureRemoval.available_at <= func.now() + timedelta(seconds=14))
        )
    assert due == 0


@pytest.mark.parametrize(("failures", "wait"), [(1, 15), (3, 60), (6, 360), (100, 360)])
def test_waits_grow_up_to_six_minutes(app: Flask, away: Any, failures: int, wait: int) -> None:
    with app.app_context(), unit_of_work():
        picture_removal_service.ask("a" * 32)
        db.session.execute(update(PictureRemoval).values(attempts=failures - 1))
    with away:
        assert work_off(app) == 0
    with app.app_context():
        left = db.session.scalar(select(PictureRemoval.available_at - func.now()))
    assert left == timedelta(seconds=wait)


def test_one_that_always_fails_does_not_keep_the_others(
    app: Flask, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = Folder.remove

    def stuck(self: Folder, name: str) -> None:
        if name.startswith("a"):
            raise Unavailable
        remove(self, name)

    monkeypatch.setattr(Folder, "remove", stuck)
    with app.app_context(), unit_of_work():
        for letter in "abc":
            kept(letter * 32)
            picture_removal_service.ask(letter * 32)
    for _ in range(3):
        make_due(app)
        work_off(app)
    assert {name[0] for name in files(folder)} == {"a"}
    assert [name for name, _ in removals(app)] == ["a" * 32]


def test_fault_of_ours_is_survived(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(name: str) -> None:
        raise KeyError(name)

    with app.app_context(), unit_of_work():
        picture_removal_service.ask("a" * 32)
    monkeypatch.setattr(media_service, "remove", fault)
    assert work_off(app) == 0
    assert removals(app) == [("a" * 32, 1)]


def test_worker_killed_in_the_middle_is_taken_over_from(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(name: str) -> None:
        raise KeyboardInterrupt

    with app.app_context(), unit_of_work():
        picture_removal_service.ask("a" * 32)
    with monkeypatch.context() as killing:
        killing.setattr(media_service, "remove", die)
        with pytest.raises(KeyboardInterrupt):
            work_off(app)
    assert work_off(app) == 0  # leased: the dead one may be slow rather than dead
    make_due(app)
    assert work_off(app) == 1


@pytest.mark.parametrize("half", [0, 1])
def test_upload_that_ends_half_way_leaves_nothing(
    app: Flask, api: Api, alice: Person, folder: Path, monkeypatch: pytest.MonkeyPatch, half: int
) -> None:
    save, saved = Folder.save, iter([*[save_whole] * half, None])

    def end(self: Folder, name: str, content: bytes) -> None:
        how: Callable[..., None] | None = next(saved)
        if how is None:
            raise SystemExit
        how(save, self, name, content)

    monkeypatch.setattr(Folder, "save", end)
    with pytest.raises(SystemExit):
        put(api.as_(alice), picture())
    assert len(files(folder)) == half
    assert work_off(app) == 0  # it may be under way still
    make_due(app)
    assert work_off(app) == 1
    assert files(folder) == []


def save_whole(save: Callable[..., None], *given: Any) -> None:
    save(*given)


def test_picture_that_came_too_late_is_nobodys(
    app: Flask, api: Api, alice: Person, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = media_service.save

    def slow(name: str, sent: dict[int, bytes]) -> None:
        save(name, sent)
        make_due(app)
        assert work_off(app) == 1

    monkeypatch.setattr(media_service, "save", slow)
    assert put(api.as_(alice), picture()).status_code == 503
    assert name_of(app, alice) is None
    assert files(folder) == []


@pytest.mark.real_database
def test_removal_and_taking_exclude_each_other(app: Flask, alice: Person) -> None:
    """Of the worker that takes a name up and the upload that makes it a picture, one is refused."""
    name = "a" * 32
    with app.app_context(), unit_of_work():
        picture_removal_service.promise(name)
    make_due(app)
    with app.app_context():
        lease = "UPDATE picture_removals SET attempts = attempts + 1"
        with db.engine.connect() as other:
            other.execute(text(lease))
            with unit_of_work():
                db.session.execute(text("SET LOCAL lock_timeout = '100ms'"))
                with pytest.raises(Exception, match="lock timeout"):
                    picture_removal_service.call_off(name)
                db.session.rollback()
            other.commit()
        with pytest.raises(Unavailable), unit_of_work():
            picture_removal_service.call_off(name)


def test_purge_takes_what_is_nobodys(app: Flask, api: Api, alice: Person, folder: Path) -> None:
    put(api.as_(alice), picture())
    mine = files(folder)
    with app.app_context():
        kept("a" * 32)
        assert picture_service.purge() == 0  # an upload may be under way
        past = (now() - timedelta(hours=2)).timestamp()
        for path in folder.iterdir():
            os.utime(path, (past, past))
        with unit_of_work():
            assert picture_service.purge() == 1
            assert picture_service.purge() == 0
    assert work_off(app) == 1
    assert files(folder) == mine


def test_picture_of_somebody_is_never_removed(app: Flask, api: Api, alice: Person, folder: Path) -> None:
    put(api.as_(alice), picture())
    with app.app_context(), unit_of_work():
        picture_removal_service.ask(str(name_of(app, alice)))
    assert work_off(app) == 0
    assert len(files(folder)) == 2
    with app.app_context(), unit_of_work():
        picture_service.purge()
    assert removals(app) == []


@pytest.mark.real_database
def test_store_that_is_away_keeps_no_other_purge(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Folder, age: timedelta) -> Any:
        raise Unavailable

    monkeypatch.setattr(Folder, "older_than", fail)
    with app.app_context():
        counts = worker.purge()
    assert counts["pictures"] == 0
    assert "audit_events" in counts
