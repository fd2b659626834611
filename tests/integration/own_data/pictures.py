"""Pictures for tests, and how they come and go."""

import io
from pathlib import Path
from typing import Any

from flask import Flask
from PIL import Image

from models import User, db
from services import worker
from tests.clients import Api
from tests.factories import Person

WIDE = (640, 360)


def picture(
    kind: str = "PNG", size: tuple[int, int] = WIDE, colour: Any = (200, 30, 30), **more: Any
) -> bytes:
    """A plain picture."""
    out = io.BytesIO()
    Image.new(more.pop("mode", "RGB"), size, colour).save(out, kind, **more)
    return out.getvalue()


def opened(data: bytes) -> Image.Image:
    """The picture in a file, unpacked."""
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def put(caller: Api, data: bytes, media: str = "image/png") -> Any:
    """Upload as a program does."""
    return caller.call("PUT", "/users/me/picture", data=data, headers={"Content-Type": media})


def files(folder: Path) -> list[str]:
    """What is kept there."""
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def name_of(app: Flask, person: Person) -> str | None:
    """The name of somebody's picture."""
    with app.app_context():
        return db.session.get_one(User, person.id).picture


def path_of(url: str) -> str:
    """Where a picture is, on this site."""
    return url.removeprefix("http://localhost")


def work_off(app: Flask) -> int:
    """Do what the worker does in its next round."""
    with app.app_context():
        return worker.JOBS["pictures"]()
