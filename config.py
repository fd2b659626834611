"""Settings: typed, checked at start, all faults told at once by variable name and never by value.

Read by `app.py` alone; everything else reads `current_app.config`, whose keys bear the variables' names.
"""

import ipaddress
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

VERSION = "1.0.0"
PROJECT_ROOT = Path(__file__).resolve().parent

KNOWN_EXAMPLES = (
    "changeme",
    "change-me",
    "change_me",
    "secret-key",
    "your-secret",
    "your_secret",
    "example",
    "password",
    "thisisasecret",
    "this-is-a-secret",
    "\x02\x01thisismyscretkey",
    "temporary_key",
    "temporarykey",
    "replace-me",
    "replaceme",
    "insecure",
    "supersecret",
    "super-secret",
    "dev-secret",
    "devkey",
    "placeholder",
)


def secret(value: str) -> str:
    """A secret of at least 32 characters, with some variety, that is no known example."""
    if not value:
        return ""
    if len(value) < 32:
        raise ValueError("needs at least 32 characters")
    if len(set(value)) < 8 or any(word in value.lower() for word in KNOWN_EXAMPLES):
        raise ValueError("is a known example or too regular; make one with: openssl rand -base64 48")
    return value


def split(value: str | tuple[str, ...]) -> tuple[str, ...]:
    """Comma separated words."""
    words = value.split(",") if isinstance(value, str) else value
    return tuple(word.strip() for word in words if word.strip())


def networks(value: str | tuple[str, ...]) -> tuple[str, ...]:
    """Comma separated addresses or networks; one that holds everybody is refused."""
    found = split(value)
    for word in found:
        try:
            network = ipaddress.ip_network(word, strict=False)
        except ValueError:
            raise ValueError("holds something that is neither an address nor a network") from None
        if network.prefixlen == 0:
            raise ValueError("trusts every address; name the proxies")
    return found


def base_url(value: str) -> str:
    """An http or https URL without path, query or user."""
    if not value:
        return ""
    parts = urlsplit(value)
    if (
        parts.scheme not in {"http", "https"}
        or not parts.hostname
        or parts.username
        or parts.query
        or parts.fragment
    ):
        raise ValueError("must look like https://app.example.com")
    if parts.path not in {"", "/"}:
        raise ValueError("must have no path")
    return value.rstrip("/")


def database_url(value: str) -> str:
    """A PostgreSQL URL, in the form SQLAlchemy reads (postgres:// is taken too)."""
    if not value:
        return ""
    for prefix in ("postgres://", "postgresql://"):
        if value.startswith(prefix):
            value = "postgresql+psycopg2://" + value.removeprefix(prefix)
    try:
        driver = make_url(value).drivername
    except (ArgumentError, ValueError):
        raise ValueError("is not a database URL") from None
    if driver != "postgresql+psycopg2":
        raise ValueError("must be a PostgreSQL URL")
    return value


def storage_uri(value: str) -> str:
    """`postgresql` or a redis URL."""
    if value and value != "postgresql" and not value.startswith(("redis://", "rediss://", "redis+unix://")):
        raise ValueError("must be postgresql or a redis:// URL")
    return value


def encryption_keys(value: str) -> str:
    """Fernet keys, comma separated, newest first."""
    for key in split(value):
        try:
            Fernet(key)
        except ValueError:
            raise ValueError(
                "each key must be 32 bytes in URL-safe base64; make one with: openssl rand -base64 32 | tr '+/' '-_'"
            ) from None
    return value


Secret = Annotated[str, BeforeValidator(secret)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(split)]


class ConfigurationError(Exception):
    """The settings are wrong; `faults` holds one sentence a variable, none with its value."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        super().__init__("The configuration is not usable:\n" + "\n".join(f"  - {fault}" for fault in faults))


class SecretFiles(PydanticBaseSettingsSource):
    """`NAME_FILE` for each variable: the value is the content of that file (Docker and Kubernetes secrets)."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        path = os.environ.get(f"{field_name}_FILE")
        if not path:
            return None, field_name, False
        try:
            return Path(path).read_text(encoding="utf-8").strip(), field_name, False
        except (OSError, UnicodeDecodeError):
            raise ConfigurationError([f"{field_name}_FILE: the file can't be read"]) from None

    def __call__(self) -> dict[str, Any]:
        found = {
            name: self.get_field_value(field, name)[0]
            for name, field in self.settings_cls.model_fields.items()
        }
        return {name: value for name, value in found.items() if value is not None}


class Config(BaseSettings):
    """Every variable with its type, default and meaning; the four environments below change defaults only."""

    model_config = SettingsConfigDict(
        case_sensitive=True, extra="ignore", hide_input_in_errors=True, env_ignore_empty=True, frozen=True
    )
    ENVIRONMENT: ClassVar[str] = "development"
    REQUIRED: ClassVar[tuple[str, ...]] = ()

    APP_NAME: str = Field(
        "Portico", description="The product's name on pages, in mails and in the API document."
    )
    APP_COMMIT: str = Field("", description="The commit that runs, shown by /api/v1/status.")
    BASE_URL: Annotated[str, BeforeValidator(base_url)] = Field(
        "",
        description="Where people reach the site. Links in mails start with it; never with the Host header.",
    )
    TRUSTED_HOSTS: Words = Field(
        (),
        description="Host names that are answered, comma separated; .example.com takes subdomains. Default: BASE_URL's.",
    )
    TRUSTED_PROXIES: Annotated[tuple[str, ...], NoDecode, BeforeValidator(networks)] = Field(
        (), description="Addresses or networks of proxies whose X-Forwarded-* headers are believed."
    )

    SECRET_KEY: Secret = Field("", description="Signs cookies. At least 32 characters.")
    SECRET_KEY_FALLBACKS: Words = Field(
        (), description="Former SECRET_KEYs that are still accepted, comma separated."
    )
    JWT_SECRET_KEY: Secret = Field(
        "", description="Signs access tokens (HS256). At least 32 characters, not SECRET_KEY."
    )
    FIELD_ENCRYPTION_KEY: Annotated[str, BeforeValidator(encryption_keys)] = Field(
        "",
        description="Fernet key or keys, comma separated, newest first. Encrypts mails at rest and stored answers.",
    )
    HEALTH_TOKEN: str = Field("", description="Bearer token that shows the details of /health/detailed.")

    DATABASE_URL: Annotated[str, BeforeValidator(database_url)] = Field(
        "",
        description="PostgreSQL. Without it development and tests run a server of their own under instance/.",
    )
    TEST_DATABASE_URL: Annotated[str, BeforeValidator(database_url)] = Field(
        "", description="PostgreSQL server for the tests; they create and drop databases there."
    )
    SQLALCHEMY_POOL_SIZE: int = Field(20, ge=1, le=500, description="Connections a process keeps open.")
    SQLALCHEMY_MAX_OVERFLOW: int = Field(30, ge=0, le=500, description="Further connections under load.")
    SQLALCHEMY_POOL_TIMEOUT: float = Field(
        30, gt=0, le=60, description="Seconds to wait for a connection; then 503."
    )
    SQLALCHEMY_POOL_RECYCLE: int = Field(
        3600, ge=1, description="Seconds after which a connection is renewed."
    )
    SQLALCHEMY_POOL_PRE_PING: bool = Field(
        True, description="Look whether a connection is alive before using it."
    )
    SQLALCHEMY_ECHO: bool = Field(False, description="Log every statement.")
    DATABASE_STATEMENT_TIMEOUT_SECONDS: float = Field(
        5, gt=0, le=60, description="A statement ends after this; then 503."
    )
    DATABASE_LOCK_TIMEOUT_SECONDS: float = Field(
        2, gt=0, le=60, description="Wait for a lock this long; then 503."
    )

    LOG_LEVEL: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least level that is logged."
    )
    LOG_FORMAT: Literal["json", "text"] = Field("json", description="JSON lines, or text for people.")
    LOG_DIR: str = Field("", description="Also write flask_app.log and error.log there, rotated at 10 MiB.")

    SESSION_LIFETIME_MINUTES: int = Field(
        30, ge=1, le=1440, description="A browser session ends after this without use."
    )
    SESSION_ABSOLUTE_HOURS: int = Field(
        24, ge=1, le=720, description="A browser session ends after this in any case."
    )
    SESSION_COOKIE_SECURE: bool = Field(True, description="Cookies over https only; also names them __Host-…")
    SESSION_COOKIE_HTTPONLY: Literal[True] = Field(
        True, description="Cookies are out of reach for scripts. Can't be off."
    )
    SESSION_COOKIE_SAMESITE: Literal["Lax", "Strict"] = Field(
        "Lax", description="Cookies stay at home on foreign requests."
    )
    FORCE_HTTPS: bool = Field(
        False, description="Pages over http redirect to https, API calls are refused; sends HSTS."
    )

    PASSWORD_MIN_LENGTH: int = Field(12, ge=8, le=64, description="Shortest password; 15 is recommended.")
    PASSWORD_HASH_MEMORY_KIB: int = Field(19456, ge=8, description="argon2id memory. OWASP's floor is 19456.")
    PASSWORD_HASH_TIME_COST: int = Field(
        2, ge=1, description="argon2id passes. OWASP's floor is 2 at 19456 KiB."
    )
    EMAIL_VERIFICATION: Literal["required", "optional"] = Field(
        "required", description="Whether an address must be confirmed before the first sign-in."
    )
    REQUIRE_MFA: Literal["none", "admins", "all"] = Field(
        "admins", description="Who must have a second step; whoever lacks one is led there first."
    )
    TOTP_SKEW: int = Field(
        1, ge=0, le=1, description="Former time steps whose code is still taken; 0 is the strict reading."
    )
    VERIFY_LINK_HOURS: int = Field(24, ge=1, le=168, description="Life of the link that confirms an address.")
    RESET_LINK_MINUTES: int = Field(
        30, ge=5, le=1440, description="Life of the link that sets a new password."
    )
    INVITE_LINK_HOURS: int = Field(72, ge=1, le=720, description="Life of an invitation.")

    RATELIMIT_ENABLED: bool = Field(
        True, description="Limits on sign-in, mails and API calls. Off only for load tests."
    )
    RATELIMIT_STORAGE_URI: Annotated[str, BeforeValidator(storage_uri)] = Field(
        "", description="Where counters live: postgresql (default), or redis://…; REDIS_URL when that is set."
    )
    API_REQUESTS_PER_MINUTE: int = Field(
        600, ge=1, description="Calls a user, or an address without one, may make."
    )
    REDIS_URL: Annotated[str, BeforeValidator(storage_uri)] = Field(
        "", description="Optional Redis for the counters."
    )

    MAIL_SERVER: str = Field("", description="SMTP server. Without it development keeps mails in /dev/mail.")
    MAIL_PORT: int = Field(587, ge=1, le=65535, description="SMTP port.")
    MAIL_USE_TLS: bool = Field(True, description="STARTTLS, required and verified.")
    MAIL_USE_SSL: bool = Field(False, description="TLS from the first byte (port 465).")
    MAIL_USERNAME: str = Field("", description="SMTP user.")
    MAIL_PASSWORD: str = Field("", description="SMTP password.")
    MAIL_DEFAULT_SENDER: str = Field("", description="Sender address of every mail.")
    MAIL_TIMEOUT_SECONDS: float = Field(10, gt=0, le=60, description="Wait this long for the SMTP server.")

    FLASK_DEBUG: bool = Field(False, description="Debugger and reloader. Refused outside development.")
    FLASK_HOST: str = Field("127.0.0.1", description="Address to listen on.")
    FLASK_PORT: int = Field(5000, ge=1, le=65535, description="Port to listen on; PORT is taken too.")
    PORT: int | None = Field(None, ge=1, le=65535, description="Same as FLASK_PORT, as platforms name it.")
    GUNICORN_WORKERS: int | None = Field(
        None, ge=1, le=256, description="Web processes. Default: the machine's cores."
    )
    GUNICORN_THREADS: int = Field(4, ge=1, le=128, description="Threads a web process.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del file_secret_settings
        return init_settings, env_settings, SecretFiles(settings_cls), dotenv_settings

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Read, check and freeze the settings; overrides win over the environment.

        Raises ConfigurationError that lists every fault.
        """
        dotenv = PROJECT_ROOT / ".env" if cls.ENVIRONMENT == "development" else None
        try:
            settings = cls(_env_file=dotenv, **{**cls._made(overrides), **overrides})
        except ValidationError as error:
            wrong = {
                str(fault["loc"][0]): fault["msg"].removeprefix("Value error, ")
                for fault in error.errors(include_url=False, include_context=False, include_input=False)
            }
            missing = [name for name in cls._missing(overrides) if name not in wrong]
            raise ConfigurationError(
                [f"{name}: {reason}" for name, reason in wrong.items()]
                + [f"{name}: is required" for name in missing]
            ) from None
        if faults := settings.faults():
            raise ConfigurationError(faults)
        return settings

    @classmethod
    def validate_required_config(cls) -> None:
        """Raise ConfigurationError when a variable this environment needs is missing or wrong."""
        cls.load()

    @classmethod
    def _missing(cls, overrides: Mapping[str, Any]) -> list[str]:
        given = {name for name in cls.REQUIRED if os.environ.get(name) or os.environ.get(f"{name}_FILE")}
        return [name for name in cls.REQUIRED if name not in given and not overrides.get(name)]

    @classmethod
    def _made(cls, overrides: Mapping[str, Any]) -> dict[str, str]:
        """Values an environment makes for itself; none by default."""
        del overrides
        return {}

    def faults(self) -> list[str]:
        """Everything that is wrong though each value has the right type, one sentence a fault."""
        faults = [f"{name}: is required" for name in self.REQUIRED if not getattr(self, name)]
        if self.SECRET_KEY and self.SECRET_KEY == self.JWT_SECRET_KEY:
            faults.append("JWT_SECRET_KEY: must differ from SECRET_KEY")
        if any(len(key) < 32 for key in self.SECRET_KEY_FALLBACKS):
            faults.append("SECRET_KEY_FALLBACKS: each key needs at least 32 characters")
        if self.MAIL_USE_TLS and self.MAIL_USE_SSL:
            faults.append("MAIL_USE_SSL: can't be combined with MAIL_USE_TLS")
        if self.HEALTH_TOKEN and len(self.HEALTH_TOKEN) < 16:
            faults.append("HEALTH_TOKEN: needs at least 16 characters")
        return faults

    @property
    def port(self) -> int:
        """The port to listen on: PORT, else FLASK_PORT."""
        return self.PORT or self.FLASK_PORT

    @property
    def trusted_hosts(self) -> tuple[str, ...]:
        """Host names that are answered; everything in development, where people try things."""
        return self.TRUSTED_HOSTS or (urlsplit(self.BASE_URL).hostname or "*",)

    @property
    def url(self) -> str:
        """Where people reach the site, without a slash at the end."""
        return self.BASE_URL or f"http://{self.FLASK_HOST}:{self.port}"


class DevelopmentConfig(Config):
    """A developer's machine: no variable needed, plain http, text logs, secrets made once under instance/."""

    ENVIRONMENT: ClassVar[str] = "development"
    LOG_FORMAT: Literal["json", "text"] = "text"
    SESSION_COOKIE_SECURE: bool = False
    MAIL_DEFAULT_SENDER: str = "portico@localhost.localdomain"
    REQUIRE_MFA: Literal["none", "admins", "all"] = "none"

    @classmethod
    def _made(cls, overrides: Mapping[str, Any]) -> dict[str, str]:
        made = development_secrets(PROJECT_ROOT / "instance" / "development.env")
        given = cls(_env_file=PROJECT_ROOT / ".env").model_dump()
        return {name: value for name, value in made.items() if not given[name] and name not in overrides}


class TestingConfig(Config):
    """Automated tests: fixed throw-away secrets, cheap password hashes, quiet logs."""

    __test__ = False  # not a test class, whatever its name suggests to pytest
    ENVIRONMENT: ClassVar[str] = "testing"
    SECRET_KEY: Secret = "testing-only-cookie-signing-key-0123456789"
    JWT_SECRET_KEY: Secret = "testing-only-access-token-key-9876543210"
    FIELD_ENCRYPTION_KEY: Annotated[str, BeforeValidator(encryption_keys)] = (
        "dGVzdGluZy1vbmx5LWZpZWxkLWtleS0wMTIzNDU2Nzg="
    )
    BASE_URL: Annotated[str, BeforeValidator(base_url)] = "http://localhost"
    SESSION_COOKIE_SECURE: bool = False
    PASSWORD_HASH_MEMORY_KIB: int = 8
    PASSWORD_HASH_TIME_COST: int = 1
    LOG_LEVEL: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "WARNING"
    MAIL_DEFAULT_SENDER: str = "portico@example.com"
    REQUIRE_MFA: Literal["none", "admins", "all"] = "none"


class ProductionConfig(Config):
    """The real thing: everything that matters must be said, nothing unsafe is accepted."""

    ENVIRONMENT: ClassVar[str] = "production"
    REQUIRED: ClassVar[tuple[str, ...]] = (
        "SECRET_KEY",
        "JWT_SECRET_KEY",
        "FIELD_ENCRYPTION_KEY",
        "DATABASE_URL",
        "BASE_URL",
        "MAIL_SERVER",
        "MAIL_DEFAULT_SENDER",
    )
    FORCE_HTTPS: bool = True

    def faults(self) -> list[str]:
        faults = super().faults()
        if self.FLASK_DEBUG:
            faults.append("FLASK_DEBUG: must be off outside development")
        if self.BASE_URL and not self.BASE_URL.startswith("https://"):
            faults.append("BASE_URL: must start with https:// outside development")
        if not self.SESSION_COOKIE_SECURE:
            faults.append("SESSION_COOKIE_SECURE: must be on outside development")
        if self.PASSWORD_HASH_MEMORY_KIB * self.PASSWORD_HASH_TIME_COST < 19456 * 2:
            faults.append(
                "PASSWORD_HASH_MEMORY_KIB: with PASSWORD_HASH_TIME_COST is under OWASP's floor (19456 x 2)"
            )
        if "*" in self.TRUSTED_HOSTS:
            faults.append("TRUSTED_HOSTS: * trusts everybody; name the hosts")
        return faults


class StagingConfig(ProductionConfig):
    """Production's rules on a machine for trying things out."""

    ENVIRONMENT: ClassVar[str] = "staging"


ENVIRONMENTS: dict[str, type[Config]] = {
    config.ENVIRONMENT: config
    for config in (DevelopmentConfig, TestingConfig, StagingConfig, ProductionConfig)
}


def environment(name: str | None = None) -> type[Config]:
    """The settings class called `name`, or the one FLASK_CONFIG (or FLASK_ENV) names; development otherwise."""
    name = name or os.environ.get("FLASK_CONFIG") or os.environ.get("FLASK_ENV") or "development"
    if name not in ENVIRONMENTS:
        raise ConfigurationError([f"FLASK_CONFIG: must be one of {', '.join(ENVIRONMENTS)}"])
    return ENVIRONMENTS[name]


def development_secrets(path: Path) -> dict[str, str]:
    """Secrets for a developer's machine, made once into an ignored file that only its owner reads."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = {
            "SECRET_KEY": secrets.token_urlsafe(48),
            "JWT_SECRET_KEY": secrets.token_urlsafe(48),
            "FIELD_ENCRYPTION_KEY": Fernet.generate_key().decode(),
        }
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text("".join(f"{name}={value}\n" for name, value in made.items()), encoding="utf-8")
        try:
            os.link(draft, path)  # two first starts at once: one file wins, both read it
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)
