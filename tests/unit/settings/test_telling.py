"""What is told of settings: an explanation without secrets, an example file and a page that are up to date."""

import json
import re
from pathlib import Path

import pytest

import config
from config import ENVIRONMENTS, Config, DevelopmentConfig, ProductionConfig
from services.settings import telling
from services.settings.loading import is_secret
from tests.unit.settings.settings import GOOD

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[3]
#: Variables that programs other than the application read, or that are Flask's own.
ELSEWHERE = {"FLASK_RUN_FROM_CLI", "PORTICO_LIFELINE"}


def test_explaining_tells_no_secret(production: pytest.MonkeyPatch) -> None:
    production.setenv("MAIL_PASSWORD", "s3cret-of-the-mail-server")
    explained = {row.name: row for row in telling.explain(ProductionConfig)}
    text = json.dumps([str(row) for row in explained.values()])
    assert [
        name for name, value in GOOD.items() if is_secret(Config.model_fields[name]) and value in text
    ] == []
    assert "s3cret" not in text
    assert (explained["MAIL_PASSWORD"].value, explained["HEALTH_TOKEN"].value) == ("set", "not set")
    assert (explained["BASE_URL"].value, explained["BASE_URL"].origin) == (GOOD["BASE_URL"], "environment")
    assert explained["SECRET_KEY"].origin == "environment"


def test_explaining_tells_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "many")
    explained = {row.name: row.fault for row in telling.explain(ProductionConfig)}
    assert explained["SECRET_KEY"] == "is required"
    assert "integer" in explained["PORT"]


def test_example_file_is_up_to_date() -> None:
    assert (ROOT / ".env.example").read_text() == telling.example(ENVIRONMENTS), (
        "flask config example > .env.example"
    )


def test_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    assert page == telling.page(ENVIRONMENTS), "flask config docs > docs/configuration.md"


def test_every_variable_is_listed_with_its_meaning() -> None:
    listed = re.findall(r"^#([A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(Config.model_fields)
    assert [name for name, field in Config.model_fields.items() if not field.description] == []


def test_every_variable_that_the_code_reads_is_declared() -> None:
    reads = re.compile(r"""(?:os\.environ(?:\.get\(|\[)|_number\()\s*f?["']([A-Z][A-Z0-9_]+)["']""")
    sources = [
        path
        for name in ("blueprints", "localdb", "models", "services")
        for path in (ROOT / name).rglob("*.py")
    ]
    sources += [ROOT / name for name in ("app.py", "config.py", "gunicorn.conf.py")]
    read = {name for path in sources for name in reads.findall(path.read_text())}
    assert {"APP_DATA_DIR", "GUNICORN_THREADS", "FLASK_CONFIG"} <= read
    assert read - set(Config.model_fields) - ELSEWHERE == set()


def test_example_file_is_a_usable_dotenv() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    given = [line.removeprefix("#") for line in lines if re.match(r"#[A-Z0-9_]+=", line)]
    config.DOTENV.write_text("\n".join(given))
    assert DevelopmentConfig.load().port == 5000
