"""Pictures by their random names, in the store that is set: a local folder, or a bucket. Nothing is overwritten."""

import importlib
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog
from flask import Flask, current_app

from services.errors import NotFound, Unavailable
from services.media_stores import AWAY, FILE, SIZES, Store
from services.media_stores.folder import Folder

log = structlog.get_logger(__name__)

NEEDS_BOTO3 = "AWS_S3_BUCKET is set, but boto3 is not installed: pip install boto3"


def init_app(app: Flask) -> None:
    """Choose the store: the bucket when AWS_S3_BUCKET is set, else the folder MEDIA_DIR (instance/media)."""
    settings = app.config
    store: Store
    if settings["AWS_S3_BUCKET"]:
        bucket = _bucket_module()
        store = bucket.Bucket(
            settings["AWS_S3_BUCKET"], settings["AWS_REGION"], settings["AWS_S3_ENDPOINT_URL"]
        )
    else:
        store = Folder(Path(app.root_path, settings["MEDIA_DIR"] or "instance/media"))
    app.extensions["media_store"] = store


def new_name() -> str:
    """A name for a picture, which nobody guesses."""
    return secrets.token_hex(16)


def save(name: str, files: dict[int, bytes]) -> None:
    """Keep a picture in its sizes. Raises Unavailable; some of it may be kept then."""
    for size, content in files.items():
        _store().save(file_of(name, size), content)


def file_of(name: str, size: int) -> str:
    """What the file of a picture in a size is called."""
    return f"{name}-{size}.webp"


def name_of(file: str) -> str:
    """The picture that a file is of. Raises NotFound for names that we never give."""
    if not FILE.fullmatch(file):
        raise NotFound
    return file.partition("-")[0]


def read(file: str) -> bytes:
    """A file by its name. Raises NotFound or Unavailable, also for what is none of our files."""
    content = _store().read(file)
    if not _is_whole(content):
        log.error("picture_is_something_else", file=file, beginning=content[:40].hex())
        raise Unavailable(AWAY)
    return content


def remove(name: str) -> None:
    """Forget a picture in all its sizes. Raises Unavailable."""
    for size in SIZES:
        _store().remove(file_of(name, size))


def try_out() -> None:
    """Keep a file, find it, read it and forget it, as pictures are. Raises Unavailable.

    It has a picture's name: left behind by somebody who is cut off, it goes with the files that are nobody's.
    """
    file, content = file_of(new_name(), SIZES[0]), b"try"
    _store().save(file, content)
    try:
        if _store().read(file) != content or file not in set(_store().older_than(-timedelta(days=1))):
            raise Unavailable(AWAY)
    except NotFound:
        raise Unavailable(AWAY) from None
    finally:
        _store().remove(file)


def place() -> str:
    """Where pictures are kept, for operators."""
    return _store().place


def names_older_than(age: timedelta) -> set[str]:
    """The pictures that old, whoever's they are, or nobody's. Raises Unavailable."""
    return {file.partition("-")[0] for file in _store().older_than(age)}


def _is_whole(content: bytes) -> bool:
    """Whether it is a WebP from beginning to end (RFC 9649 section 2.4): a proxy may have answered for the store."""
    is_webp = content[:4] == b"RIFF" and content[8:12] == b"WEBP"
    return is_webp and len(content) == 8 + int.from_bytes(content[4:8], "little")


def _store() -> Store:
    store: Store = current_app.extensions["media_store"]
    return store


def _bucket_module() -> Any:
    try:
        return importlib.import_module("services.media_stores.bucket")
    except ModuleNotFoundError as error:
        raise RuntimeError(NEEDS_BOTO3) from error
