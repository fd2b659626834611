"""Settings: typed, checked at start, every fault told at once by name and never by value."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st

import config
from config import (
    ENVIRONMENTS,
    Config,
    ConfigurationError,
    DevelopmentConfig,
    ProductionConfig,
    StagingConfig,
    TestingConfig,
    environment,
)
from services.settings import telling
from services.settings.kinds import checks_certificate, is_near
from services.settings.loading import is_secret

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]
GOOD = {
    "SECRET_KEY": "q0bF3nX8vL1zT6wK9rD2yH5mJ7cP4sA_",
    "JWT_SECRET_KEY": "Z7kV2gR5uN8eB1xQ4oW6tI9aY3fL0hS-",
    "FIELD_ENCRYPTION_KEY": Fernet.generate_key().decode(),
    "DATABASE_URL": "postgresql://app:pa55@db.example.com/app?sslmode=verify-full",
    "BASE_URL": "https://app.example.com",
    "MAIL_SERVER": "smtp.example.com",
    "MAIL_DEFAULT_SENDER": "portico@example.com",
}
#: Variables that programs other than the application read, or that are Flask's own.
ELSEWHERE = {"FLASK_RUN_FROM_CLI", "PORTICO_LIFELINE"}


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.removesuffix("_FILE") in Config.model_fields:
            monkeypatch.delenv(name)
    monkeypatch.setattr(config, "DOTENV", tmp_path / ".env")
    monkeypatch.setattr(config, "MADE", tmp_path / "instance" / "development.env")


@pytest.fixture
def production(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def faults_of(settings: type[Config] = ProductionConfig, **overrides: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        settings.load(**overrides)
    return caught.value.faults


# ---- environments


def test_good_settings_of_production_are_taken(production: pytest.MonkeyPatch) -> None:
    settings = ProductionConfig.load()
    assert settings.url == "https://app.example.com"
    assert settings.trusted_hosts == ("app.example.com",)
    assert settings.DATABASE_URL.startswith("postgresql+psycopg2://app:")
    assert (settings.FORCE_HTTPS, settings.SESSION_COOKIE_SECURE, settings.FLASK_DEBUG) == (True, True, False)
    ProductionConfig.validate_required_config()
    StagingConfig.validate_required_config()


@pytest.mark.parametrize("name", ProductionConfig.REQUIRED)
def test_production_names_what_is_missing(production: pytest.MonkeyPatch, name: str) -> None:
    production.delenv(name)
    with pytest.raises(ConfigurationError, match=f"{name}: is required"):
        ProductionConfig.validate_required_config()


def test_empty_counts_as_missing(production: pytest.MonkeyPatch) -> None:
    production.setenv("SECRET_KEY", "")
    assert faults_of() == ["SECRET_KEY: is required"]


def test_every_fault_is_told_at_once_and_no_value(production: pytest.MonkeyPatch) -> None:
    wrong = {
        "SECRET_KEY": "hunter2",
        "DATABASE_URL": "mysql://app:hunter2@db.example.com/app",
        "BASE_URL": "http://app.example.com",
        "SQLALCHEMY_POOL_SIZE": "hunter2",
        "LOG_LEVEL": "hunter2",
        "TRUSTED_PROXIES": "0.0.0.0/0",
        "FLASK_DEBUG": "true",
        "HEALTH_TOKEN": "hunter2",
        "PORT": "99999",
    }
    for name, value in wrong.items():
        production.setenv(name, value)
    production.delenv("MAIL_SERVER")
    told = faults_of()
    assert {fault.split(":")[0] for fault in told} == {*wrong, "MAIL_SERVER"}
    assert "hunter2" not in "\n".join(told)
    assert "99999" not in "\n".join(told)


@pytest.mark.parametrize("name", ["development", "testing", "staging", "production"])
def test_environment_is_chosen_by_flask_config(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("FLASK_CONFIG", name)
    assert environment() is ENVIRONMENTS[name]


def test_flask_env_is_the_older_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment() is DevelopmentConfig
    monkeypatch.setenv("FLASK_ENV", "staging")
    assert environment() is StagingConfig
    monkeypatch.setenv("FLASK_CONFIG", "production")
    assert environment() is ProductionConfig
    assert environment("testing") is TestingConfig


def test_unknown_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_CONFIG", "prod")
    with pytest.raises(ConfigurationError, match="must be one of development, testing, staging, production"):
        environment()


def test_production_in_dotenv_alone_is_refused() -> None:
    config.DOTENV.write_text("FLASK_CONFIG=production\n")
    with pytest.raises(ConfigurationError, match="set it in the environment"):
        environment()


# ---- sources


def test_development_makes_its_secrets_once() -> None:
    first, second = DevelopmentConfig.load(), DevelopmentConfig.load()
    assert first.SECRET_KEY == second.SECRET_KEY
    assert len({first.SECRET_KEY, first.JWT_SECRET_KEY, first.FIELD_ENCRYPTION_KEY}) == 3
    assert config.MADE.stat().st_mode & 0o077 == 0


def test_earlier_sources_win(monkeypatch: pytest.MonkeyPatch) -> None:
    config.DOTENV.write_text("PORT=5001\nAPP_NAME=From the file\nSECRET_KEY=\n")
    assert DevelopmentConfig.load().port == 5001
    monkeypatch.setenv("PORT", "5002")
    assert DevelopmentConfig.load().port == 5002
    assert DevelopmentConfig.load(PORT=5003).port == 5003
    assert DevelopmentConfig.load().APP_NAME == "From the file"
    origins = {
        name: DevelopmentConfig.origin_of(name) for name in ("PORT", "APP_NAME", "SECRET_KEY", "MAIL_PORT")
    }
    assert origins == {
        "PORT": "environment",
        "APP_NAME": ".env",
        "SECRET_KEY": "made for development",
        "MAIL_PORT": "default",
    }


@pytest.mark.parametrize("settings", [TestingConfig, ProductionConfig])
def test_dotenv_is_read_in_development_only(production: pytest.MonkeyPatch, settings: type[Config]) -> None:
    config.DOTENV.write_text("APP_NAME=From the file\n")
    assert settings.load().APP_NAME == "Portico"


def test_secret_comes_from_a_file(production: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(GOOD["SECRET_KEY"] + "\n")
    production.delenv("SECRET_KEY")
    production.setenv("SECRET_KEY_FILE", str(tmp_path / "key"))
    read = ProductionConfig.load().SECRET_KEY
    assert read == GOOD["SECRET_KEY"]
    assert ProductionConfig.origin_of("SECRET_KEY") == "SECRET_KEY_FILE"


def test_secret_given_twice_or_in_no_file_is_refused(production: pytest.MonkeyPatch, tmp_path: Path) -> None:
    production.setenv("SECRET_KEY_FILE", str(tmp_path / "key"))
    production.delenv("JWT_SECRET_KEY")
    production.setenv("JWT_SECRET_KEY_FILE", str(tmp_path / "missing"))
    told = faults_of()
    assert told == [
        "SECRET_KEY: is given twice, as SECRET_KEY and as SECRET_KEY_FILE",
        "JWT_SECRET_KEY: the file that JWT_SECRET_KEY_FILE names can't be read",
    ]


def test_only_secrets_come_from_files(production: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "name").write_text("Other")
    production.setenv("APP_NAME_FILE", str(tmp_path / "name"))
    assert ProductionConfig.load().APP_NAME == "Portico"


# ---- values


@pytest.mark.parametrize(
    "value",
    [
        "short",
        "a" * 64,
        "changeme" * 8,
        "your-secret-key-goes-here-please-0123",
        "\x02\x01thisismyscretkey\x01\x02\\e\\y\\y\\h-and-more",
        TestingConfig.model_fields["SECRET_KEY"].default,
    ],
)
@pytest.mark.parametrize("name", ["SECRET_KEY", "JWT_SECRET_KEY", "SECRET_KEY_FALLBACKS"])
def test_weak_secret_is_refused_everywhere(production: pytest.MonkeyPatch, name: str, value: str) -> None:
    production.setenv(name, value)
    assert [fault.split(":")[0] for fault in faults_of()] == [name]
    assert [fault.split(":")[0] for fault in faults_of(DevelopmentConfig)] == [name]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JWT_SECRET_KEY", GOOD["SECRET_KEY"]),
        ("FIELD_ENCRYPTION_KEY", "x" * 44),
        ("FIELD_ENCRYPTION_KEY", config.TESTING_KEY),
        ("BASE_URL", "app.example.com"),
        ("BASE_URL", "https://app.example.com/portico"),
        ("BASE_URL", "https://user@app.example.com"),
        ("BASE_URL", "https://app.example.com:port"),
        ("BASE_URL", "https://app.example.com?x=1"),
        ("BASE_URL", "javascript:alert(1)"),
        ("TRUSTED_HOSTS", "*"),
        ("TRUSTED_HOSTS", "https://app.example.com"),
        ("TRUSTED_PROXIES", "*"),
        ("TRUSTED_PROXIES", "0.0.0.0/0"),
        ("TRUSTED_PROXIES", "::/0"),
        ("TRUSTED_PROXIES", "128.0.0.0/1"),
        ("DATABASE_URL", "sqlite:///app.db"),
        ("DATABASE_URL", "postgresql://db"),
        ("DATABASE_URL", "postgresql://app@db.example.com/app"),
        ("DATABASE_URL", "postgresql://app@db.example.com/app?sslmode=require"),
        ("DATABASE_URL", "postgresql://app@db,db.example.com/app"),
        ("REDIS_URL", "http://redis"),
        ("RATELIMIT_STORAGE_URI", "memory://"),
        ("MAIL_SERVER", "smtp.example.com:587"),
        ("MAIL_USE_TLS", "false"),
        ("MAIL_USE_SSL", "true"),
        ("MAIL_PORT", "465"),
        ("MAIL_DEFAULT_SENDER", "nobody"),
        ("APP_NAME", "Two\nlines"),
        ("SESSION_COOKIE_SECURE", "false"),
        ("SESSION_COOKIE_HTTPONLY", "false"),
        ("SESSION_COOKIE_SAMESITE", "None"),
        ("PASSWORD_MIN_LENGTH", "4"),
        ("PASSWORD_HASH_MEMORY_KIB", "1024"),
        ("SQLALCHEMY_ECHO", "true"),
        ("FLASK_DEBUG", "1"),
    ],
)
def test_weak_or_wrong_value_is_refused_in_production(
    production: pytest.MonkeyPatch, name: str, value: str
) -> None:
    production.setenv(name, value)
    assert [fault.split(":")[0] for fault in faults_of()] == [name]
    assert [fault.split(":")[0] for fault in faults_of(StagingConfig)] == [name]


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("TRUSTED_PROXIES", " 10.0.0.1, 172.16.0.0/12 ,fd00::/8", ("10.0.0.1", "172.16.0.0/12", "fd00::/8")),
        ("TRUSTED_HOSTS", ".example.com,127.0.0.1", (".example.com", "127.0.0.1")),
        ("BASE_URL", "https://app.example.com:8443/", "https://app.example.com:8443"),
        ("BASE_URL", "https://[2001:db8::1]", "https://[2001:db8::1]"),
        ("DATABASE_URL", "postgres://a:b@db/app", "postgresql+psycopg2://a:b@db/app"),
        ("DATABASE_URL", "postgresql:///app?host=/run/pg", "postgresql+psycopg2:///app?host=/run/pg"),
        ("MAIL_DEFAULT_SENDER", "Portico <portico@example.com>", "Portico <portico@example.com>"),
        ("SQLALCHEMY_POOL_PRE_PING", "off", False),
    ],
)
def test_good_value_is_read(production: pytest.MonkeyPatch, name: str, value: str, read: object) -> None:
    production.setenv(name, value)
    assert getattr(ProductionConfig.load(), name) == read


def test_a_distant_database_without_proof_is_a_choice(production: pytest.MonkeyPatch) -> None:
    production.setenv("DATABASE_URL", "postgresql://app@db.example.com/app?sslmode=require")
    production.setenv("DATABASE_TLS", "optional")
    ProductionConfig.load()


def test_mail_in_the_clear_is_for_a_near_server(production: pytest.MonkeyPatch) -> None:
    production.setenv("MAIL_USE_TLS", "false")
    production.setenv("MAIL_SERVER", "mailcatcher")
    ProductionConfig.load()


@pytest.mark.parametrize(
    ("host", "near"),
    [("", True), ("/run/pg", True), ("localhost", True), ("db", True), ("127.0.0.1", True), ("::1", True),
     ("10.0.0.4", False), ("db.internal", False), ("2001:db8::1", False)],
)  # fmt: skip
def test_near_hosts(host: str, near: bool) -> None:
    assert is_near(host) is near


@pytest.mark.parametrize(
    ("address", "url"),
    [
        ({}, "http://127.0.0.1:5000"),
        ({"PORT": 5050}, "http://127.0.0.1:5050"),
        ({"FLASK_PORT": 5051}, "http://127.0.0.1:5051"),
        ({"PORT": 5050, "FLASK_PORT": 5051}, "http://127.0.0.1:5050"),
        ({"FLASK_HOST": "0.0.0.0"}, "http://127.0.0.1:5000"),
        ({"FLASK_HOST": "::1"}, "http://[::1]:5000"),
        ({"BASE_URL": "http://portico.test:5000/", "PORT": 5050}, "http://portico.test:5000"),
    ],
)
def test_url_follows_the_address(address: dict[str, Any], url: str) -> None:
    assert DevelopmentConfig.load(**address).url == url


@given(
    st.dictionaries(
        st.sampled_from(sorted(Config.model_fields)), st.text(min_size=1, max_size=60), max_size=4
    )
)
def test_no_text_whatever_breaks_loading_or_is_told(values: dict[str, str]) -> None:
    """Any text is either taken or refused with the variable's name; never with another exception, never repeated."""
    _, faults = TestingConfig.draft(**values)
    assert set(faults) <= set(values) | {"JWT_SECRET_KEY", "OIDC_ISSUER", "CLIENT_ID", "CLIENT_SECRET"}
    for name, reason in faults.items():
        value = values.get(name, "")
        assert len(value) < 12 or value not in reason


@given(st.text(max_size=80))
def test_any_database_url_is_judged(text: str) -> None:
    _, faults = TestingConfig.draft(DATABASE_URL=f"postgresql://{text}/app")
    if not faults:
        checks_certificate(f"postgresql+psycopg2://{text}/app")


# ---- telling


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
