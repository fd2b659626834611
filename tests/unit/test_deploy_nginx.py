"""nginx's files agree with the app, with one another and with the container that they run in."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from blueprints.http.headers import ALWAYS, API_POLICY, HSTS
from services import picture_service
from services.errors import registry

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
NGINX = ROOT / "deploy/nginx"
KIB, MIB = 1024, 1024 * 1024
UNITS = {"": 1, "k": KIB, "K": KIB, "m": MIB, "M": MIB, "g": 1024 * MIB, "G": 1024 * MIB}
#: What OpenSSL and nginx hold for a connection beside the buffers that the configuration sizes; measured: under 20 KiB.
TLS_BYTES = 24 * KIB
#: The programs themselves, two of them and their master; measured: under 12 MiB.
PROGRAM_BYTES = 32 * MIB


def read(name: str) -> str:
    return (NGINX / name).read_text(encoding="utf-8")


def site() -> str:
    """The server of the site, and what stands before all servers."""
    template = read("portico.conf.template")
    return template[: template.index("\nserver {")] + template[template.index("# ---- the site") :]


def size(text: str) -> int:
    found = re.fullmatch(r"(\d+)([kKmMgG]?)", text)
    assert found is not None, text
    return int(found[1]) * UNITS[found[2]]


def the(pattern: str, text: str) -> str:
    """The one place where the pattern's group stands."""
    found = re.findall(pattern, text)
    assert len(found) == 1, (pattern, found)
    return str(found[0])


@pytest.fixture(scope="module")
def container() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    service: dict[str, Any] = loaded["services"]["nginx"]
    return service


def tmpfs(container: dict[str, Any]) -> dict[str, int]:
    """Size by folder; each has one, since it counts as the container's memory."""
    mounts = (mount.partition(":") for mount in container["tmpfs"])
    return {folder: size(the(r"\bsize=(\w+)", options)) for folder, _, options in mounts}


# ---- what it can be made to hold


def largest_body() -> int:
    return max(size(found) for found in re.findall(r"client_max_body_size (\w+);", site()))


def test_bodies_in_files_fit_their_folder(container: dict[str, Any]) -> None:
    """Large bodies at once, each as large as any may be."""
    at_once = int(the(r"limit_conn portico_large (\d+);", site()))
    assert at_once * largest_body() <= tmpfs(container)["/var/cache/nginx/bodies"]
    assert int(the(r"limit_conn portico_large_clients (\d+);", site())) * 4 <= at_once


def test_static_files_leave_room_for_answers_that_are_read_slowly(container: dict[str, Any]) -> None:
    kept = size(the(r"proxy_cache_path \S+ .*max_size=(\w+)", site()))
    answer = size(the(r"proxy_max_temp_file_size (\w+);", site()))
    assert kept + 12 * answer <= tmpfs(container)["/var/cache/nginx"]


def test_worst_case_fits_the_containers_memory(container: dict[str, Any]) -> None:
    """Every connection holding all it can at once, and every file system in memory full."""
    whole, text = read("nginx.conf"), site()
    connections = int(the(r"worker_processes (\d+);", whole)) * int(the(r"worker_connections (\d+);", whole))
    number, each = re.findall(r"large_client_header_buffers (\d+) (\w+);", text)[0]
    answers, part = re.findall(r"proxy_buffers (\d+) (\w+);", text)[0]
    connection = (
        TLS_BYTES
        + size(the(r"client_header_buffer_size (\w+);", text))
        + int(number) * size(each)
        + size(the(r"client_body_buffer_size (\w+);", text))
        + size(the(r"proxy_buffer_size (\w+);", text))
        + int(answers) * size(part)
    )
    zones = sum(size(found) for found in re.findall(r"(?:zone=\w+|shared:\w+):(\w+)", text))
    assert int(the(r"limit_conn portico_all (\d+);", text)) <= connections
    worst = PROGRAM_BYTES + zones + connections * connection + sum(tmpfs(container).values())
    assert worst <= size(container["deploy"]["resources"]["limits"]["memory"])


def test_body_that_stays_in_memory_fits_its_buffer() -> None:
    """Bodies of under 30,000 bytes are not counted among the large."""
    assert size(the(r"client_body_buffer_size (\w+);", site())) >= 30_000


def test_large_bodies_are_for_pictures_alone() -> None:
    text = site()
    assert re.findall(r"location (.+) \{ client_max_body_size (\w+);", text) == [
        ("= /account/picture", "6m"),
        ("= /api/v1/users/me/picture", "6m"),
    ]
    assert largest_body() > picture_service.MOST_BYTES
    assert "    client_max_body_size 1m;" in text


def test_every_limit_is_by_client_not_by_address() -> None:
    text = read("portico.conf.template") + read("portico/maps.conf")
    zones = re.findall(r"limit_(?:conn|req)_zone (\S+)", text)
    assert set(zones) == {"$portico_client", "$server_port", "$portico_large_client", "$portico_large"}


# ---- what it answers


def test_own_answers_bear_the_apps_headers() -> None:
    text = read("portico/headers.conf")
    said = {name: value.strip('"') for name, value in re.findall(r"add_header (\S+) (.+) always;", text)}
    assert text.count("add_header") == len(said)
    assert said.pop(HSTS[0]) == "$portico_hsts"
    assert said.pop("Content-Security-Policy") == "$portico_policy"
    assert said.pop("X-Request-ID") == "$request_id"
    assert said == dict(ALWAYS)
    maps = read("portico/maps.conf")
    assert f'on "{HSTS[1]}";' in maps
    assert f'default "{API_POLICY}";' in maps


def words(variable: str) -> dict[str, str]:
    """What a map of errors says, by status."""
    block = the(rf"map \$portico_error \${variable} \{{\n([^}}]+)\}}", read("portico/maps.conf"))
    return dict(re.findall(r'^    (\w+) "?([^";]*)"?;$', block, flags=re.MULTILINE))


def test_codes_are_those_of_the_registry() -> None:
    assert set(words("portico_code").values()) <= set(registry())


@pytest.mark.parametrize("variable", ["portico_message", "portico_title", "portico_text", "portico_remedy"])
def test_words_are_plain_text(variable: str) -> None:
    """They stand in JSON and in HTML as they are."""
    said = words(variable)
    assert len(said) >= 9
    for sentence in said.values():
        assert re.fullmatch(r"[A-Z][A-Za-z ,.?']+", sentence), sentence


class Outside(HTMLParser):
    """What a page asks of others: addresses, scripts, styles written at an element."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"script", "link", "img", "iframe", "form", "object", "base"}:
            self.asked.append(tag)
        self.asked += [name for name, _ in attrs if name in {"style", "src"} or name.startswith("on")]


def test_error_page_needs_nothing_from_elsewhere() -> None:
    page = read("portico/error.html")
    parser = Outside()
    parser.feed(page)
    assert parser.asked == []
    assert "url(" not in page
    assert "@import" not in page


def test_error_pages_style_is_the_one_that_its_policy_allows() -> None:
    style = the(r"(?s)<style>(.*?)</style>", read("portico/error.html"))
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in read("portico/maps.conf")


def test_error_page_wears_the_apps_colours() -> None:
    sheet = (ROOT / "static/css/app.css").read_text(encoding="utf-8")
    for name, colour in re.findall(
        r"--(paper|ink|edge|accent|on-accent): (#\w+);", read("portico/error.html")
    ):
        assert f"--{name}: {colour};" in sheet


def test_every_server_answers_in_our_manner_and_writes_no_request_lines() -> None:
    servers = read("portico.conf.template").split("\nserver {")[1:]
    assert len(servers) == 3
    for server in servers:
        assert "include /etc/nginx/portico/errors.conf;" in server
        assert "error_log /var/log/nginx/error.log emerg;" in server
