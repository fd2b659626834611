"""Profile pictures: what is taken, what is made of it, what is refused, and that nothing is left behind (ASVS V5)."""

import errno
import io
import os
import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from PIL import Image

from services import export_service
from tests.clients import Api, PageClient, browser
from tests.factories import Person, make_person
from tests.integration.own_data.pictures import files, name_of, opened, path_of, picture, put, work_off
from tests.state import unchanged

GIF = picture("GIF", (1, 1))
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
HTML = b"<!doctype html><script>alert(1)</script>"
MIB = 1024 * 1024


pytestmark = pytest.mark.usefixtures("folder")


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it is huge."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 99))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("kind", "media"), [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp")]
)
def test_picture_is_cut_square_and_made_anew(api: Api, alice: Person, kind: str, media: str) -> None:
    answer = put(api.as_(alice), picture(kind), media)
    assert answer.status_code == 200
    for size, url in ((256, answer.json["data"]["large"]), (64, answer.json["data"]["small"])):
        served = api.app.test_client().get(path_of(url))
        image = opened(served.data)
        assert (image.format, image.size) == ("WEBP", (size, size))
        pixel: Any = image.convert("RGB").getpixel((9, 9))
        assert all(abs(got - sent) < 12 for got, sent in zip(pixel, (200, 30, 30), strict=True))


def test_served_picture_can_do_nothing_but_be_looked_at(api: Api, alice: Person) -> None:
    url = path_of(put(api.as_(alice), picture()).json["data"]["large"])
    served = api.app.test_client().get(url)
    assert served.mimetype == "image/webp"
    assert served.headers["X-Content-Type-Options"] == "nosniff"
    assert served.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'; sandbox"
    assert served.headers["Content-Disposition"] == f"inline; filename={url.rpartition('/')[2]}"
    assert served.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert served.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "Set-Cookie" not in served.headers


def test_metadata_stays_behind(api: Api, alice: Person) -> None:
    exif = Image.Exif()
    exif[0x010F] = "SecretCamera"
    exif.get_ifd(0x8825)[1] = "N"
    sent = picture("JPEG", exif=exif, icc_profile=b"SecretProfile" * 20, comment=b"SecretComment")
    url = put(api.as_(alice), sent, "image/jpeg").json["data"]["large"]
    served = api.app.test_client().get(path_of(url)).data
    assert b"Secret" not in served
    assert not opened(served).getexif()
    assert b"Secret" in sent


def test_picture_is_turned_as_its_camera_says(api: Api, alice: Person) -> None:
    image = Image.new("RGB", (200, 200), (0, 0, 255))
    image.paste((255, 0, 0), (0, 0, 200, 100))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    out = io.BytesIO()
    image.save(out, "JPEG", exif=exif)
    url = put(api.as_(alice), out.getvalue(), "image/jpeg").json["data"]["large"]
    turned: Any = opened(api.app.test_client().get(path_of(url)).data).convert("RGB")
    red, _, blue = turned.getpixel((128, 20))
    assert blue > 200 > red


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1", "I;16", "CMYK"])
def test_every_way_of_keeping_colours_is_taken(api: Api, alice: Person, mode: str) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    out = io.BytesIO()
    Image.new(mode, (90, 40)).save(out, kind)
    assert put(api.as_(alice), out.getvalue()).status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        GIF,
        SVG,
        HTML,
        b"PK\x03\x04" + b"\0" * 100,
        b"%PDF-1.7\n",
        b"MZ" + b"\0" * 200,
        GIF + picture(),
        HTML + picture(),
        picture()[:200],
        picture("JPEG")[:300],
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"RIFF\x00\x00\x00\x00WEBP",
        picture("BMP"),
        picture("TIFF"),
        b"\0" * 4096,
    ],
    ids=str,
)
@pytest.mark.parametrize("media", ["image/png", "image/webp"])
def test_what_is_no_picture_by_content_is_refused(
    api: Api, alice: Person, folder: Path, sent: bytes, media: str
) -> None:
    caller = api.as_(alice)
    with unchanged(api.app):
        answer = put(caller, sent, media)
    assert answer.status_code == 422
    assert answer.json["error"]["details"]["errors"][0]["code"] == "not_a_picture"
    assert files(folder) == []


def test_what_hangs_on_a_picture_is_dropped(api: Api, alice: Person) -> None:
    url = put(api.as_(alice), picture() + HTML + b"PK\x03\x04").json["data"]["large"]
    served = api.app.test_client().get(path_of(url)).data
    assert b"script" not in served
    assert b"PK\x03\x04" not in served


@pytest.mark.parametrize(("width", "height"), [(100_000, 100_000), (5_001, 5_000), (2**31 - 1, 1)])
def test_bomb_is_refused_before_it_is_unpacked(api: Api, alice: Person, width: int, height: int) -> None:
    caller = api.as_(alice)
    with unchanged(api.app):
        assert put(caller, bomb(width, height)).status_code == 422


def test_five_megabytes_are_the_limit_here_and_one_elsewhere(api: Api, alice: Person) -> None:
    caller = api.as_(alice)
    padded = picture() + b"\0" * (5 * MIB - len(picture()))
    assert put(caller, padded).status_code == 200
    with unchanged(api.app):
        assert put(caller, padded + b"\0").status_code == 413
        assert put(caller, b"\0" * (6 * MIB)).status_code == 413
        other = caller.call(
            "PATCH", "/users/me", data=b"\0" * (MIB + 1), headers={"Content-Type": "application/json"}
        )
        assert other.status_code == 413


def test_body_without_a_length_is_cut_off(api: Api, alice: Person) -> None:
    caller = api.as_(alice)
    with unchanged(api.app):
        answer = caller.call(
            "PUT",
            "/users/me/picture",
            input_stream=io.BytesIO(b"\0" * (6 * MIB)),
            headers={"Content-Type": "image/png", "Transfer-Encoding": "chunked"},
            environ_overrides={"wsgi.input_terminated": True},
        )
    assert answer.status_code == 413


@pytest.mark.parametrize("media", ["application/json", "image/svg+xml", "image/gif", "text/html", ""])
def test_other_kinds_of_bodies_are_refused(api: Api, alice: Person, media: str) -> None:
    caller = api.as_(alice)
    with unchanged(api.app):
        assert put(caller, picture(), media).status_code == 415


def test_empty_body_and_form_without_a_file_are_told(api: Api, alice: Person) -> None:
    caller = api.as_(alice)
    assert put(caller, b"").status_code == 422
    form = caller.call("PUT", "/users/me/picture", data={"other": "x"}, content_type="multipart/form-data")
    assert form.status_code == 422
    assert form.json["error"]["details"]["field"] == "picture"


@pytest.mark.parametrize(
    "name", ["../../x.py", "a%0d%0aX-Evil: 1.png", "\u202egnp.exe", "x" * 5000, "a.php\0.png"]
)
def test_senders_name_of_a_file_goes_nowhere(api: Api, alice: Person, folder: Path, name: str) -> None:
    form = {"picture": (io.BytesIO(picture()), name)}
    answer = api.as_(alice).call("PUT", "/users/me/picture", data=form, content_type="multipart/form-data")
    assert answer.status_code == 200
    picture_name = name_of(api.app, alice)
    assert files(folder) == [f"{picture_name}-256.webp", f"{picture_name}-64.webp"]


def test_another_picture_takes_the_place_of_the_former(api: Api, alice: Person, folder: Path) -> None:
    caller = api.as_(alice)
    first = put(caller, picture()).json["data"]["large"]
    second = put(caller, picture(colour=(0, 0, 200))).json["data"]["large"]
    assert first != second
    assert work_off(api.app) == 1
    assert len(files(folder)) == 2
    assert api.app.test_client().get(path_of(first)).status_code == 404


def test_removed_picture_is_gone(api: Api, alice: Person, folder: Path) -> None:
    caller = api.as_(alice)
    put(caller, picture())
    for _ in range(2):
        assert caller.delete("/users/me/picture").status_code == 200
    assert name_of(api.app, alice) is None
    assert work_off(api.app) == 1
    assert files(folder) == []


@pytest.mark.parametrize(
    "file", ["x", "..%2f..%2fconfig.py", "0" * 32 + "-128.webp", "0" * 32 + "-64.webp", "%00", "a" * 3000]
)
def test_other_names_show_nothing(app: Flask, file: str) -> None:
    assert app.test_client().get(f"/media/{file}").status_code in {400, 404}


def test_strangers_and_keys_change_no_picture(api: Api, alice: Person) -> None:
    key = api.as_(alice).post("/users/me/api-keys", {"name": "x", "scopes": []}).json["data"]["key"]
    with unchanged(api.app):
        assert put(api, picture()).status_code == 401
        assert put(Api(api.app, key), picture()).status_code == 403
        assert Api(api.app, key).delete("/users/me/picture").status_code == 403


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EIO])
def test_full_or_broken_disk_changes_nothing(
    api: Api, alice: Person, folder: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    caller = api.as_(alice)
    put(caller, picture())
    before = files(folder)

    def fail(self: Path, data: bytes) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as broken, unchanged(api.app):
        broken.setattr(Path, "write_bytes", fail)
        answer = put(caller, picture(colour=(1, 2, 3)))
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert files(folder) == before
    assert put(caller, picture()).status_code == 200


@pytest.mark.real_database
def test_of_two_uploads_at_once_one_stays(api: Api, alice: Person, folder: Path) -> None:
    callers = [api.as_(alice) for _ in range(4)]
    answers: list[Any] = []
    threads = [
        threading.Thread(target=lambda c=caller: answers.append(put(c, picture()))) for caller in callers
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert [answer.status_code for answer in answers] == [200] * 4
    assert work_off(api.app) == 3
    name = name_of(api.app, alice)
    assert files(folder) == [f"{name}-256.webp", f"{name}-64.webp"]


def test_copy_of_the_data_holds_the_picture(app: Flask, api: Api, alice: Person) -> None:
    caller = api.as_(alice)
    put(caller, picture())
    caller.post("/users/me/export")
    with app.app_context():
        export_service.make_due()
    copy = caller.get("/users/me/export/file").json["account"]["picture"]
    assert copy.startswith("data:image/webp;base64,UklGR")


def test_page_shows_it_everywhere(app: Flask, client: PageClient, ada: Person) -> None:
    client.sign_in(ada)
    assert ">AO</span>" in client.get("/account/profile").get_data(as_text=True)
    form = {
        "csrf_token": client.token("/account/profile"),
        "picture": (io.BytesIO(picture("JPEG")), "me.jpg"),
    }
    answer = client.post("/account/picture", data=form, content_type="multipart/form-data")
    assert answer.status_code == 303
    name = name_of(app, ada)
    for page in ("/account/profile", "/dashboard", "/admin/users", f"/admin/users/{ada.id}"):
        html = client.get(page).get_data(as_text=True)
        assert f"/media/{name}-" in html, page
    client.post("/account/picture/remove", data={"csrf_token": client.token("/account/profile")})
    assert ">AO</span>" in client.get("/account/profile").get_data(as_text=True)


def test_page_says_what_is_wrong(app: Flask, client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    for sent, told in (
        (GIF, "Choose a PNG, JPEG or WebP: this file does not open as one"),
        (b"", "Choose a file"),
    ):
        form = {"csrf_token": client.token("/account/profile"), "picture": (io.BytesIO(sent), "me.png")}
        answer = client.post(
            "/account/picture", data=form, content_type="multipart/form-data", follow_redirects=True
        )
        assert told in answer.get_data(as_text=True)


def test_page_says_that_a_picture_is_too_large(client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    for size in (5 * MIB + 1, 6 * MIB):
        form = {
            "csrf_token": client.token("/account/profile"),
            "picture": (io.BytesIO(b"\0" * size), "me.png"),
        }
        answer = client.post(
            "/account/picture", data=form, content_type="multipart/form-data", follow_redirects=True
        )
        assert "This picture is larger than 5 MB. Choose a smaller one." in answer.text


def test_page_refuses_what_another_site_sends(app: Flask, client: PageClient, alice: Person) -> None:
    client.sign_in(alice)
    with unchanged(app):
        form = {"picture": (io.BytesIO(picture()), "me.png")}
        assert (
            client.post("/account/picture", data=form, content_type="multipart/form-data").status_code == 403
        )


def test_list_of_accounts_as_csv_is_as_before(app: Flask, client: PageClient) -> None:
    boss = make_person(app, "Boss Person", role="admin")
    api = Api(app).as_(boss)
    put(api, picture())
    other = browser(app)
    other.sign_in(boss)
    csv = other.get("/admin/users.csv").get_data(as_text=True)
    assert str(name_of(app, boss)) not in csv
