"""Where pictures are kept: a local folder, or a bucket that speaks S3. Names are random, nothing is overwritten.

Every failure of disk or bucket is Unavailable: nothing was changed, and it may be tried again.
"""

import os
import re
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import structlog
from flask import Flask, current_app

from models.base import now
from services.errors import NotFound, Unavailable

try:
    import boto3
    from botocore.config import Config as BucketConfig
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError:  # only those who keep pictures in a bucket install it
    boto3 = None

log = structlog.get_logger(__name__)

SIZES = (256, 64)
FILE = re.compile(rf"[0-9a-f]{{32}}-({'|'.join(map(str, SIZES))})\.webp", re.ASCII)
NEEDS_BOTO3 = "AWS_S3_BUCKET is set, but boto3 is not installed: pip install boto3"
PREFIX = "media/"
BUCKET_SECONDS = 5


class Store(Protocol):
    """Files by name."""

    def save(self, name: str, content: bytes) -> None:
        """Keep a file, whole or not at all. Raises Unavailable."""

    def read(self, name: str) -> bytes:
        """A file. Raises NotFound or Unavailable."""

    def remove(self, name: str) -> None:
        """Forget a file; it may be gone already. Raises Unavailable."""

    def older_than(self, age: timedelta) -> Iterator[str]:
        """The names of files that old. Raises Unavailable."""


class Folder:
    """Files in a folder of this machine, shared by web and worker."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def save(self, name: str, content: bytes) -> None:
        """Written beside and then moved: nobody ever reads half a file."""
        draft = self.path / f".{name}.{secrets.token_hex(4)}"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            try:
                draft.write_bytes(content)
                draft.replace(self.path / name)
            finally:
                draft.unlink(missing_ok=True)
        except OSError as error:
            raise _away("save", error) from error

    def read(self, name: str) -> bytes:
        """The file's bytes."""
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            raise NotFound from None
        except OSError as error:
            raise _away("read", error) from error

    def remove(self, name: str) -> None:
        """Unlink it."""
        try:
            (self.path / name).unlink(missing_ok=True)
        except OSError as error:
            raise _away("remove", error) from error

    def older_than(self, age: timedelta) -> Iterator[str]:
        """By the time they were written."""
        limit = (now() - age).timestamp()
        try:
            for entry in os.scandir(self.path):
                if FILE.fullmatch(entry.name) and entry.stat().st_mtime < limit:
                    yield entry.name
        except FileNotFoundError:
            return
        except OSError as error:
            raise _away("list", error) from error


class Bucket:
    """Objects of a bucket. Keys come from where boto3 looks for them (environment, instance role); none are ours."""

    def __init__(self, bucket: str, region: str, endpoint: str) -> None:
        if boto3 is None:
            raise RuntimeError(NEEDS_BOTO3)
        self.bucket = bucket
        self.client: Any = boto3.session.Session().client(
            "s3",
            region_name=region or None,
            endpoint_url=endpoint or None,
            config=BucketConfig(
                connect_timeout=BUCKET_SECONDS,
                read_timeout=BUCKET_SECONDS,
                retries={"total_max_attempts": 2},
                s3={"addressing_style": "path"} if endpoint else {},
            ),
        )

    def save(self, name: str, content: bytes) -> None:
        """Put the object."""
        self._call("put_object", Key=PREFIX + name, Body=content, ContentType="image/webp")

    def read(self, name: str) -> bytes:
        """Get the object."""
        try:
            return bytes(self._call("get_object", Key=PREFIX + name)["Body"].read())
        except (BotoCoreError, OSError) as error:  # cut off while reading
            raise _away("read", error) from error

    def remove(self, name: str) -> None:
        """Delete the object; S3 does not mind one that is gone."""
        self._call("delete_object", Key=PREFIX + name)

    def older_than(self, age: timedelta) -> Iterator[str]:
        """By when they were put."""
        limit: datetime = (now() - age).astimezone(UTC)
        more: dict[str, str] = {}
        while True:
            listed = self._call("list_objects_v2", Prefix=PREFIX, **more)
            for row in listed.get("Contents", ()):
                name = str(row["Key"]).removeprefix(PREFIX)
                if FILE.fullmatch(name) and row["LastModified"] < limit:
                    yield name
            if not listed.get("IsTruncated"):
                return
            more = {"ContinuationToken": listed["NextContinuationToken"]}

    def _call(self, verb: str, **given: Any) -> Any:
        try:
            return getattr(self.client, verb)(Bucket=self.bucket, **given)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "NoSuchKey":
                raise NotFound from None
            raise _away(verb, error) from error
        except BotoCoreError as error:
            raise _away(verb, error) from error


def init_app(app: Flask) -> None:
    """Choose the store: the bucket when AWS_S3_BUCKET is set, else the folder MEDIA_DIR (instance/media)."""
    settings = app.config
    store: Store
    if settings["AWS_S3_BUCKET"]:
        store = Bucket(settings["AWS_S3_BUCKET"], settings["AWS_REGION"], settings["AWS_S3_ENDPOINT_URL"])
    else:
        store = Folder(Path(app.root_path, settings["MEDIA_DIR"] or "instance/media"))
    app.extensions["media_store"] = store


def save(files: dict[int, bytes]) -> str:
    """Keep a picture in its sizes; returns its new name. Raises Unavailable, and keeps none of it then."""
    name = secrets.token_hex(16)
    try:
        for size, content in files.items():
            _store().save(file_of(name, size), content)
    except Unavailable:
        discard(name)
        raise
    return name


def file_of(name: str, size: int) -> str:
    """What the file of a picture in a size is called."""
    return f"{name}-{size}.webp"


def read(file: str) -> bytes:
    """A file by its name. Raises NotFound, also for a name that we never gave, or Unavailable."""
    if not FILE.fullmatch(file):
        raise NotFound
    return _store().read(file)


def remove(name: str) -> None:
    """Forget a picture in all its sizes. Raises Unavailable."""
    for size in SIZES:
        _store().remove(file_of(name, size))


def discard(name: str) -> None:
    """As `remove`, but left to the purge when the store is away."""
    try:
        remove(name)
    except Unavailable:
        log.warning("picture_left_behind", picture=name)


def names_older_than(age: timedelta) -> set[str]:
    """The pictures that old, whoever's they are, or nobody's. Raises Unavailable."""
    return {file.partition("-")[0] for file in _store().older_than(age)}


def _store() -> Store:
    store: Store = current_app.extensions["media_store"]
    return store


def _away(verb: str, error: Exception) -> Unavailable:
    log.error("media_store_trouble", verb=verb, error=type(error).__name__, reason=str(error)[:200])
    return Unavailable("Pictures can't be kept or fetched right now. Nothing was changed.")
