"""Which environment is chosen, and where settings come from; faults are told all at once, by name, never by value."""

from pathlib import Path

import pytest

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
from tests.unit.settings.settings import GOOD, faults_of

pytestmark = pytest.mark.unit


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
