"""Pictures that cost far more than they weigh: refused before they are decoded, or ended by limits (ASVS 5.2.6)."""

import io
import re
import resource
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from PIL import Image

from services import picture_service
from services.errors import Invalid, Unavailable
from services.pictures import jpeg, making, png, webp
from tests.clients import Api
from tests.factories import Person
from tests.integration.own_data.pictures import files, opened, path_of, picture, put
from tests.state import unchanged

pytestmark = pytest.mark.usefixtures("folder")

#: What looking a file over may cost this process.
LOOK_SECONDS = 1.0


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_with(*chunks: bytes, pixels: bytes | None = None) -> bytes:
    """A grey PNG of 64 × 64 with further chunks before its pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(65 * 64))) if pixels is None else pixels
    return png.SIGNATURE + head + b"".join(chunks) + data + chunk(b"IEND", b"")


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def many_scans() -> bytes:
    """6000 × 4000, progressive; its last scan is there a thousand times more."""
    made = picture("JPEG", (6000, 4000), progressive=True, quality=50)
    last = made.rindex(b"\xff\xda")
    return made[:-2] + made[last:-2] * 1000 + b"\xff\xd9"


def exif_that_refers_to_itself() -> bytes:
    """A directory of 5,000 entries, each of which says that nearly all of the block is its value."""
    entries = b"".join(struct.pack("<HHII", tag, 7, 60_000, 8) for tag in range(5000))
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 5000) + entries + bytes(4)


def after_start(made: bytes, *segments: bytes) -> bytes:
    return made[:2] + b"".join(segments) + made[2:]


def frame(made: bytes, marker: int, precision: int = 8) -> bytes:
    """The JPEG with another kind of frame."""
    at = made.index(b"\xff\xc0")
    return made[: at + 1] + bytes((marker,)) + made[at + 2 : at + 4] + bytes((precision,)) + made[at + 5 :]


def animation(kind: str, frames: int, size: tuple[int, int] = (64, 64)) -> bytes:
    out = io.BytesIO()
    # Each frame differs, or they would be put together.
    pictures = [Image.new("RGB", size, (number % 256, number // 256, 90)) for number in range(frames)]
    pictures[0].save(out, kind, save_all=True, append_images=pictures[1:])
    return out.getvalue()


SMALL = picture("JPEG", (64, 64))
MUCH = zlib.compress(bytes(200_000_000), 9)
#: What is refused, and with which code.
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "a thousand scans": (many_scans, "too_complex"),
    "a million segments": (lambda: after_start(SMALL, segment(0xFE, b"") * 1_000_000), "too_complex"),
    "arithmetic coding": (lambda: frame(SMALL, 0xC9), "unusual"),
    "progressive arithmetic coding": (lambda: frame(SMALL, 0xCA), "unusual"),
    "a lossless JPEG": (lambda: frame(SMALL, 0xC3), "unusual"),
    "twelve bits": (lambda: frame(SMALL, 0xC1, precision=12), "unusual"),
    "two frames": (
        lambda: SMALL.replace(b"\xff\xda", SMALL[SMALL.index(b"\xff\xc0") :][:19] + b"\xff\xda"),
        "not_a_picture",
    ),
    "no end": (lambda: SMALL[:-2], "not_a_picture"),
    "a height told later": (lambda: SMALL[:-2] + segment(0xDC, b"\xff\xff") + b"\xff\xd9", "unusual"),
    "400,000 chunks of no pixels": (lambda: png_with(pixels=chunk(b"IDAT", b"") * 400_000), "too_complex"),
    "400,000 texts": (lambda: png_with(chunk(b"tEXt", b"") * 400_000), "too_complex"),
    "a wrong sum": (lambda: png_with().replace(b"IDATx", b"IDATy"), "not_a_picture"),
    "a critical chunk nobody knows": (lambda: png_with(chunk(b"CgBI", bytes(4))), "not_a_picture"),
    "a million chunks of WebP": (
        lambda: webp._file(*[webp._chunk(b"JUNK", b"")] * 500_000, picture("WEBP")[12:]),
        "too_complex",
    ),
    "a huge WebP of 30 bytes": (
        lambda: webp._file(webp._chunk(b"VP8L", b"\x2f\xff\xff\xff\x0f\0\0\0\0")),
        "too_many_pixels",
    ),
    "a huge frame of an animation": (
        lambda: webp._file(
            webp._chunk(b"ANMF", bytes(16) + webp._chunk(b"VP8L", b"\x2f\xff\xff\xff\x0f\0\0\0\0"))
        ),
        "too_many_pixels",
    ),
}
#: What is taken, because what would cost so much is left out.
TAKEN: dict[str, Callable[[], bytes]] = {
    "texts that unpack to gigabytes": lambda: png_with(*[chunk(b"zTXt", b"k\0\0" + MUCH)] * 20),
    "international texts": lambda: png_with(*[chunk(b"iTXt", b"k\0\1\0\0\0" + MUCH)] * 20),
    "a profile that unpacks to 200 MB": lambda: png_with(chunk(b"iCCP", b"k\0\0" + MUCH)),
    "EXIF of a PNG that refers to itself": lambda: png_with(chunk(b"eXIf", exif_that_refers_to_itself()[6:])),
    "EXIF of a JPEG that refers to itself": lambda: after_start(
        SMALL, segment(0xE1, exif_that_refers_to_itself())
    ),
    "EXIF of a WebP that refers to itself": lambda: webp._file(
        picture("WEBP", (64, 64))[12:], webp._chunk(b"EXIF", exif_that_refers_to_itself())
    ),
    "a profile of 255 parts": lambda: after_start(
        SMALL, *[segment(0xE2, b"ICC_PROFILE\0" + bytes((part, 255)) + bytes(1000)) for part in range(1, 256)]
    ),
    "pictures within pictures": lambda: (
        after_start(SMALL, segment(0xE2, b"MPF\0" + bytes(5000))) + many_scans()
    ),
    "an animated PNG": lambda: animation("PNG", 500),
    "an animated WebP": lambda: animation("WEBP", 500),
}


@contextmanager
def costs(*, own: float, of_children: float) -> Iterator[None]:
    """At most so many seconds of CPU."""

    def spent(who: int) -> float:
        used = resource.getrusage(who)
        return used.ru_utime + used.ru_stime

    before, children_before = spent(resource.RUSAGE_SELF), spent(resource.RUSAGE_CHILDREN)
    yield
    assert spent(resource.RUSAGE_SELF) - before < own
    assert spent(resource.RUSAGE_CHILDREN) - children_before < of_children


@pytest.mark.parametrize("name", REFUSED)
def test_bomb_is_refused_before_it_is_decoded(api: Api, alice: Person, folder: Path, name: str) -> None:
    make, code = REFUSED[name]
    sent, caller = make(), api.as_(alice)
    assert len(sent) < making.MOST_BYTES
    with unchanged(api.app), costs(own=LOOK_SECONDS + 1, of_children=0.01):
        answer = put(caller, sent)
    assert answer.status_code == 422
    assert answer.json["error"]["details"]["errors"][0]["code"] == code
    assert files(folder) == []


@pytest.mark.parametrize("name", TAKEN)
def test_what_would_cost_much_is_never_looked_at(api: Api, alice: Person, name: str) -> None:
    sent, caller = TAKEN[name](), api.as_(alice)
    assert len(sent) < making.MOST_BYTES
    with costs(own=LOOK_SECONDS + 1, of_children=2):
        answer = put(caller, sent)
    assert answer.status_code == 200
    assert opened(api.app.test_client().get(path_of(answer.json["data"]["small"])).data).size == (64, 64)


@pytest.mark.parametrize(
    ("kind", "mode", "more"),
    [
        ("JPEG", "CMYK", {"progressive": True}),
        ("PNG", "RGBA", {"compress_level": 1}),
        ("WEBP", "RGBA", {"method": 0}),
    ],
)
def test_largest_picture_that_is_allowed_is_taken(
    api: Api, alice: Person, kind: str, mode: str, more: dict[str, Any]
) -> None:
    sent = picture(kind, (5000, 5000), (9, 9, 9, 9), mode=mode, **more)
    with costs(own=LOOK_SECONDS + 1, of_children=8):
        assert put(api.as_(alice), sent).status_code == 200


def test_last_scan_that_is_allowed_is_taken() -> None:
    made = picture("JPEG", (64, 64), progressive=True)
    last = made.rindex(b"\xff\xda")
    scans = made.count(b"\xff\xda")
    fill = made[last:-2] * (jpeg.MOST_SCANS - scans)
    assert making.remade(made[:-2] + fill + b"\xff\xd9")
    with pytest.raises(Invalid):
        making.remade(made[:-2] + fill + made[last:-2] + b"\xff\xd9")


def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Have another program decode, within the same limits: what an unknown bomb makes of it."""
    source = Path(making.__file__).with_name("decoder.py").read_text(encoding="utf-8")
    changed = re.sub(
        r"def remade\(.*?\n\n\n", f"def remade(*given):\n    {body}\n\n\n", source, flags=re.DOTALL
    )
    assert changed != source
    changed = changed.replace("CPU_SECONDS = 5", "CPU_SECONDS = 1")
    (tmp_path / "decoder.py").write_text(changed, encoding="utf-8")
    python, *options, _ = making._program()
    monkeypatch.setattr(making, "_program", lambda: (python, *options, str(tmp_path / "decoder.py")))


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("while True: pass", 422, "too_complex"),
        ("return [bytearray(2**30)]", 422, "too_complex"),
        ("os.kill(os.getpid(), 11)", 422, "not_a_picture"),
        ("raise ValueError", 422, "not_a_picture"),
        ("os.kill(os.getpid(), 9)", 503, None),
        ("os._exit(1)", 503, None),
    ],
)
def test_decoder_is_ended_by_its_limits(
    api: Api,
    alice: Person,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    body: str,
    status: int,
    code: str | None,
) -> None:
    caller = api.as_(alice)
    program(tmp_path, monkeypatch, body)
    monkeypatch.setattr(making, "LONGEST_SECONDS", 30)  # however busy the machine is
    with unchanged(api.app), costs(own=2, of_children=3):
        answer = put(caller, picture())
    assert answer.status_code == status
    if code is not None:
        assert answer.json["error"]["details"]["errors"][0]["code"] == code
    assert files(folder) == []


def test_decoder_that_sleeps_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, monkeypatch, "__import__('time').sleep(50)")
    monkeypatch.setattr(making, "LONGEST_SECONDS", 0.5)
    with pytest.raises(Unavailable):
        making.remade(picture())


def test_decoder_is_given_nothing_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = "return [repr((sorted(os.environ), sorted(os.listdir('/proc/self/fd')), sorted(sys.modules))).encode()] * 2"
    program(tmp_path, monkeypatch, body)
    monkeypatch.setenv("SECRET_KEY", "secret")
    told = making.remade(picture())[256].decode()
    assert "SECRET_KEY" not in told
    assert "['0', '1', '2', '3']" in told  # the last is the folder that is being read
    assert "'services" not in told


def test_decoder_that_can_not_begin_is_our_trouble(
    api: Api, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = api.as_(alice)
    monkeypatch.setattr(making, "_program", lambda: ("/nonexistent",))
    answer = put(caller, picture())
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]


def test_interpreter_is_found_within_another_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/usr/bin/uwsgi")
    making._program.cache_clear()
    try:
        assert making.remade(picture())
        assert "uwsgi" not in making._program()[0]
    finally:
        making._program.cache_clear()


def test_doctor_opens_a_picture(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    with app.app_context():
        picture_service.try_out()
        monkeypatch.setattr(making, "_program", lambda: ("/nonexistent",))
        with pytest.raises(Unavailable):
            picture_service.try_out()


def test_every_byte_is_looked_at_once() -> None:
    """Files made to have the same bytes read again and again cost as much as others."""
    stuffed = SMALL[: SMALL.index(b"\xff\xda") + 14] + b"\xff\x00" * 2_400_000 + b"\xff" * 100_000 + b"\xd9"
    began = time.process_time()
    assert jpeg.bare(stuffed).kind == "JPEG"
    assert time.process_time() - began < LOOK_SECONDS
