"""Pictures in a bucket, on a server that speaks S3, over HTTP."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from moto.server import ThreadedMotoServer

from services import media_service
from services.errors import NotFound, Unavailable
from services.media_stores.bucket import Bucket
from tests.clients import Api
from tests.factories import Person
from tests.integration.own_data.pictures import opened, picture, put, work_off
from tests.state import unchanged

BUCKET = "portico-pictures"
FILE = "0" * 32 + "-64.webp"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The server's address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """An empty bucket, with the keys of the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    made = Bucket(BUCKET, "eu-central-1", endpoint)
    place: Any = {"LocationConstraint": "eu-central-1"}
    if BUCKET not in [row["Name"] for row in made.client.list_buckets()["Buckets"]]:
        made.client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration=place)
    return made


@pytest.fixture
def in_bucket(app: Flask, bucket: Bucket) -> Iterator[Flask]:
    """The application, keeping its pictures there."""
    kept = app.extensions["media_store"]
    app.extensions["media_store"] = bucket
    yield app
    app.extensions["media_store"] = kept


def keys(bucket: Bucket) -> list[str]:
    return [row["Key"] for row in bucket.client.list_objects_v2(Bucket=BUCKET).get("Contents", ())]


def test_picture_lives_in_the_bucket(in_bucket: Flask, bucket: Bucket, api: Api, alice: Person) -> None:
    caller = api.as_(alice)
    url = put(caller, picture()).json["data"]["large"].removeprefix("http://localhost")
    assert len(keys(bucket)) == 2
    assert opened(in_bucket.test_client().get(url).data).size == (256, 256)
    put(caller, picture())
    assert in_bucket.test_client().get(url).status_code == 404
    assert work_off(in_bucket) == 1
    assert len(keys(bucket)) == 2
    caller.delete("/users/me/picture")
    assert work_off(in_bucket) == 1
    assert keys(bucket) == []


def test_what_is_not_there_is_not_found(bucket: Bucket) -> None:
    with pytest.raises(NotFound):
        bucket.read(FILE)
    bucket.remove(FILE)


def test_files_are_listed_by_age(bucket: Bucket) -> None:
    bucket.save(FILE, b"x")
    assert list(bucket.older_than(timedelta(hours=1))) == []
    assert list(bucket.older_than(timedelta(seconds=-5))) == [FILE]
    bucket.remove(FILE)


def test_bucket_that_is_away_changes_nothing(
    app: Flask, api: Api, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setitem(app.extensions, "media_store", Bucket(BUCKET, "eu-central-1", "http://127.0.0.1:9"))
    caller = api.as_(alice)
    with unchanged(app):
        assert put(caller, picture()).status_code == 503


def test_bucket_that_does_not_exist_is_our_trouble(endpoint: str, bucket: Bucket) -> None:
    del bucket
    with pytest.raises(Unavailable):
        Bucket("no-such-bucket", "eu-central-1", endpoint).save(FILE, b"x")


def test_the_doctors_try_leaves_nothing(in_bucket: Flask, bucket: Bucket) -> None:
    before = keys(bucket)
    with in_bucket.app_context():
        media_service.try_out()
        assert media_service.place() == f"the bucket {BUCKET}"
    assert keys(bucket) == before
