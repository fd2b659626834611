"""Compose's containers: their addresses, their memory, and the images they are made from."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.settings.kinds import base_url

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(read("docker-compose.yml"))
    return loaded


def filled_in(text: str, **variables: str) -> str:
    """Compose's own syntax: `${NAME}`, `${NAME:-else}`, `${NAME:+instead}`, `${NAME:?reason}`."""

    def value(found: re.Match[str]) -> str:
        given, how, word = variables.get(found[1], ""), found[2], found[3] or ""
        if how == ":+":
            return word if given else ""
        return given or (word if how == ":-" else "")

    return re.sub(r"\$\{(\w+)(:[-+?])?([^}]*)\}", value, text)


@pytest.mark.parametrize(
    ("port", "site", "url"),
    [
        ("", "app.example.com", "https://app.example.com"),
        ("443", "app.example.com:443", "https://app.example.com"),
        ("8443", "app.example.com:8443", "https://app.example.com:8443"),
    ],
)
def test_another_port_becomes_part_of_the_sites_address(
    compose: dict[str, Any], port: str, site: str, url: str
) -> None:
    given = {"PORTICO_HOST": "app.example.com", "HTTPS_PORT": port}
    services = compose["services"]
    assert filled_in(services["nginx"]["environment"]["PORTICO_SITE"], **given) == site
    assert base_url(filled_in(services["web"]["environment"]["BASE_URL"], **given)) == url
    assert filled_in(services["nginx"]["ports"][1], **given) == f"{port or 443}:8443"


def test_what_lies_in_memory_has_an_end_and_fits(compose: dict[str, Any]) -> None:
    """A file system in memory counts as its container's memory; without a size it takes half of the machine's."""
    for name, service in compose["services"].items():
        sizes = [re.search(r"\bsize=(\d+)m\b", mount) for mount in service.get("tmpfs", [])]
        assert all(sizes), name
        limit = service["deploy"]["resources"]["limits"]["memory"]
        memory = int(limit[:-1]) * {"M": 1, "G": 1024}[limit[-1]]
        assert sum(int(found[1]) for found in sizes if found) <= memory / 2, name


def images() -> dict[str, str]:
    """Every image that is fetched, with the file that names it."""
    found = {}
    for file in ("docker-compose.yml", "Dockerfile", ".github/workflows/ci.yml"):
        for image in re.findall(r"^\s*(?:image:|FROM) (\S+)", read(file), flags=re.MULTILINE):
            if not image.startswith("${PORTICO_IMAGE"):  # made here
                found[image] = file
    return found


def test_no_image_moves_with_its_tag() -> None:
    """Version to the last figure, and the system beneath where there are several, or a digest."""
    assert len(images()) == 6
    for image, file in images().items():
        tag = image.partition("@")[0].rpartition(":")[2]
        version = r"v?\d+\.\d+\.\d+" if "postgres" not in image else r"\d+\.\d+"
        assert re.match(rf"{version}(?:-|$)", tag), f"{file}: {image}"
        assert "mailpit" in image or re.search(r"-(?:trixie|alpine\d+\.\d+)$", tag), f"{file}: {image}"
    assert "# syntax=" not in read("Dockerfile")  # would be fetched too, and moves
