"""What every template has at hand: hashed asset addresses, the nonce, times, initials and tints."""

import hashlib
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from flask import Flask, Response, current_app, request, url_for
from markupsafe import Markup

from blueprints.http import headers
from services.clock import now
from services.device import device_name
from services.smtp import ascii_domain

TINTS = 6
YEAR_SECONDS = 31_536_000


def init_app(app: Flask) -> None:
    """Register globals and filters; undefined names in templates raise while developing and testing."""
    app.jinja_env.globals.update(
        asset=asset,
        app_name=app.config["APP_NAME"],
        version=app.config["VERSION"],
        csp_nonce=lambda: headers.nonce(request.environ),
    )
    app.jinja_env.filters.update(
        when=when, initials=initials, tint=tint, device=device_name, unmistakable=unmistakable
    )
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True


def asset(path: str) -> str:
    """The address of a file under static/, with a hash of its content so that it may be cached for ever."""
    return url_for("static", filename=path, v=content_hash(path))


def content_hash(path: str) -> str:
    """A hash of a file under static/ as it is now. Raises OSError when there is none."""
    folder = current_app.static_folder or ""
    modified = (Path(folder) / path).stat().st_mtime_ns
    return _content_hash(folder, path, modified)


def keep_if_hashed(response: Response, path: str) -> Response:
    """Let whoever asked for a file by the hash of its content keep it for a year; others ask again each time."""
    if response.status_code in {200, 304} and request.args.get("v") == content_hash(path):
        response.headers["Cache-Control"] = f"public, max-age={YEAR_SECONDS}, immutable"
    return response


def unmistakable(address: str) -> str:
    """An e-mail address with a foreign domain spelled in ASCII beside it: `а` and `a` look alike, `xn--` does not."""
    domain = address.rpartition("@")[2]
    return address if domain.isascii() else f"{address} ({ascii_domain(address)})"


def when(moment: datetime | None, absent: str = "Never") -> Markup:
    """A `<time>` people can read: relative under a day, else day and time in UTC; `absent` in words for none."""
    if moment is None:
        return Markup('<span class="faint">{}</span>').format(absent)
    text = _relative(now() - moment) or f"{moment.day} {moment:%b %Y, %H:%M}"
    iso = moment.isoformat(timespec="seconds").replace("+00:00", "Z")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        iso, f"{moment:%d %b %Y, %H:%M:%S} UTC", text
    )


def initials(name: str) -> str:
    """First letters of the first and the last word."""
    words = [word for word in name.split() if word]
    letters = [words[0][0], words[-1][0]] if len(words) > 1 else [word[0] for word in words[:1]]
    return "".join(letters).upper()


def tint(number: Any) -> int:
    """One of the six tints of avatars, the same for the same id."""
    return int(number) % TINTS + 1


def _relative(age: timedelta) -> str | None:
    seconds = int(age.total_seconds())
    if not 0 <= seconds < 86_400:
        return None
    if seconds < 60:
        return "just now"
    count, unit = (seconds // 60, "minute") if seconds < 3600 else (seconds // 3600, "hour")
    return f"{count} {unit}{'' if count == 1 else 's'} ago"


@lru_cache(maxsize=256)
def _content_hash(folder: str, path: str, modified: int) -> str:
    del modified  # part of the key: a changed file gets a new address
    return hashlib.sha256((Path(folder) / path).read_bytes()).hexdigest()[:12]
