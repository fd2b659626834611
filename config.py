"""The variables: each with its type, its default and what it means; and the four environments.

Read by `app.py` alone; everything else reads `current_app.config`, whose keys bear the variables' names. How they are
loaded and checked is in `services/settings/`.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field

from services.settings import tls
from services.settings.audit import AuditSettings
from services.settings.hosts import names_in_development, url_of
from services.settings.kinds import (
    AlwaysOn,
    BaseUrl,
    DatabaseUrl,
    EncryptionKeys,
    FormerKeys,
    Host,
    Hosts,
    Issuer,
    Line,
    LogFormat,
    LogLevel,
    Networks,
    Port,
    RedisUrl,
    Seconds,
    Secret,
    Secrets,
    SecretText,
    Sender,
    SigningKey,
    Words,
)
from services.settings.limits import Limits
from services.settings.loading import ConfigurationError, in_file
from services.settings.making import make_secrets
from services.settings.oidc import faults_of

__all__ = [
    "ENVIRONMENTS",
    "PROJECT_ROOT",
    "VERSION",
    "Config",
    "ConfigurationError",
    "DevelopmentConfig",
    "ProductionConfig",
    "StagingConfig",
    "TestingConfig",
    "environment",
]

VERSION = "1.0.0"
PROJECT_ROOT = Path(__file__).resolve().parent
DOTENV = PROJECT_ROOT / ".env"
MADE = PROJECT_ROOT / "instance" / "development.env"
LEAST_HASH_COST = 19456 * 2
TESTING_KEY = "dGVzdGluZy1vbmx5LWZpZWxkLWtleS0wMTIzNDU2Nzg="
SMTP_OVER_TLS = 465

WhoNeedsSecondStep = Literal["none", "admins", "all"]


class Config(AuditSettings, Limits):
    """Every variable. The environments below change defaults and add checks, nothing else."""

    REQUIRED: ClassVar[tuple[str, ...]] = ("SECRET_KEY", "JWT_SECRET_KEY", "FIELD_ENCRYPTION_KEY")
    TOPICS: ClassVar[Mapping[str, str]] = {
        "FLASK_CONFIG": "Environment",
        "APP_NAME": "Site",
        "SECRET_KEY": "Secrets",
        "DATABASE_URL": "Database",
        "APP_DATA_DIR": "Database of its own (development and tests)",
        "SESSION_LIFETIME_MINUTES": "Sessions and cookies",
        "PASSWORD_MIN_LENGTH": "Accounts",
        "AUTH0_DOMAIN": "Signing in with an issuer (docs/single-sign-on.md)",
        "RATELIMIT_ENABLED": "Limits",
        "MAIL_SERVER": "Mail",
        "AUDIT_RETENTION_DAYS": "Audit log",
        "LOG_LEVEL": "Logs",
        "FLASK_HOST": "Web server",
    }

    FLASK_CONFIG: str = ""
    """`development`, `testing`, `staging` or `production`. Empty: what FLASK_ENV says, else development."""
    FLASK_ENV: str = ""
    """The same under its older name; FLASK_CONFIG wins."""
    FLASK_DEBUG: bool = False
    """Start again when code changes. Refused in staging and production."""

    APP_NAME: Line = "Portico"
    """The product's name on pages, in mails and in the API document."""
    APP_COMMIT: str = ""
    """The commit that runs, shown by /api/v1/status."""
    BASE_URL: BaseUrl = ""
    """Where people reach the site. Links in mails start with it; never with the Host header."""
    TRUSTED_HOSTS: Hosts = ()
    """Further host names that are answered beside BASE_URL's, comma separated; `.example.com` takes subdomains.
    Development answers to this machine's own (docs/deployment.md, "Hosts")."""
    TRUSTED_PROXIES: Networks = ()
    """Addresses or networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, comma separated."""
    SECURITY_CONTACT: Line = ""
    """`mailto:` or https address for reports of security holes, told at /.well-known/security.txt."""
    FORCE_HTTPS: bool = False
    """Pages over http redirect to https; API calls and forms are refused."""

    SECRET_KEY: Secret = ""
    """Signs cookies. At least 32 characters: `openssl rand -base64 48`."""
    SECRET_KEY_FALLBACKS: Secrets = ()
    """Former SECRET_KEYs that are still accepted, comma separated."""
    JWT_SECRET_KEY: Secret = ""
    """Signs access tokens (HS256). At least 32 characters, and not SECRET_KEY."""
    JWT_PRIVATE_KEY: SigningKey = ""
    """Ed25519 key in PEM that signs access tokens instead (EdDSA): `openssl genpkey -algorithm ed25519`. Better given
    as JWT_PRIVATE_KEY_FILE. Its public half stands at /.well-known/jwks.json."""
    JWT_PUBLIC_KEYS: FormerKeys = ""
    """Public halves of former keys in PEM, one after the other, whose tokens are still accepted."""
    FIELD_ENCRYPTION_KEY: EncryptionKeys = ""
    """Fernet key or keys, comma separated, newest first: `openssl rand -base64 32 | tr '+/' '-_'`.
    Encrypts mails at rest and stored answers."""
    HEALTH_TOKEN: SecretText = ""
    """Bearer token of at least 16 characters that shows the details of /health/database, detailed and blueprints."""

    DATABASE_URL: DatabaseUrl = ""
    """PostgreSQL: `postgresql://user:password@host/database?sslmode=verify-full`.
    Empty: development and tests run a server of their own."""
    TEST_DATABASE_URL: DatabaseUrl = ""
    """PostgreSQL server for the tests; they create and drop databases there."""
    DATABASE_TLS: Literal["verified", "optional"] = "verified"
    """In staging and production a distant database must prove who it is (sslmode=verify-full or verify-ca);
    `optional` lets it be. This machine, sockets and one-word names (container networks) are not distant."""
    DATABASE_STATEMENT_TIMEOUT_SECONDS: Seconds = 5
    """A statement ends after this; then 503."""
    DATABASE_LOCK_TIMEOUT_SECONDS: Seconds = 2
    """Wait for a lock this long; then 503."""
    SQLALCHEMY_POOL_SIZE: Annotated[int, Field(ge=1, le=500)] = 20
    """Connections a process keeps open. gunicorn.conf.py sets one for each thread."""
    SQLALCHEMY_MAX_OVERFLOW: Annotated[int, Field(ge=0, le=500)] = 30
    """Further connections under load. gunicorn.conf.py sets none."""
    SQLALCHEMY_POOL_TIMEOUT: Seconds = 30
    """Seconds to wait for a connection; then 503. gunicorn.conf.py sets 2."""
    SQLALCHEMY_POOL_RECYCLE: Annotated[int, Field(ge=1)] = 3600
    """Seconds after which a connection is renewed."""
    SQLALCHEMY_POOL_PRE_PING: bool = True
    """Look whether a connection is alive before using it."""
    SQLALCHEMY_ECHO: bool = False
    """Log every statement, with its values: addresses, hashes. For development; refused in staging and production."""
    REDIS_URL: RedisUrl = ""
    """Optional Redis for the counters of the limits: `redis://`, `rediss://` (`?ssl_ca_certs=/path` for an authority of
    your own), or a socket: `unix:///run/redis/redis.sock`."""

    APP_DATA_DIR: str = ""
    """Its data folder. Empty: instance/postgres. The tests' has `-test` added."""
    APP_PG_BIN: str = ""
    """Folder of other server programs (initdb, postgres)."""
    APP_PG_USER: str = ""
    """Who runs the server when we are root. Empty: postgres, else nobody."""
    APP_PG_PORT: Port | None = None
    """Also listen on this port of 127.0.0.1, with a password (`python -m localdb status` tells it)."""

    SESSION_LIFETIME_MINUTES: Annotated[int, Field(ge=1, le=1440)] = 30
    """A browser session ends after this without use."""
    SESSION_ABSOLUTE_HOURS: Annotated[int, Field(ge=1, le=720)] = 24
    """A browser session ends after this in any case."""
    SESSION_COOKIE_SECURE: bool = True
    """Cookies over https only; also names them `__Host-…`."""
    SESSION_COOKIE_HTTPONLY: AlwaysOn = True
    """Cookies are out of reach for scripts. Can't be off."""
    SESSION_COOKIE_SAMESITE: Literal["Lax", "Strict"] = "Lax"
    """Cookies stay at home on foreign requests."""

    PASSWORD_MIN_LENGTH: Annotated[int, Field(ge=8, le=64)] = 15
    """Shortest new password, in characters (NIST SP 800-63B-4). Passwords that people have already stay good."""
    PASSWORD_HASH_MEMORY_KIB: Annotated[int, Field(ge=8)] = 19456
    """argon2id memory. OWASP's floor is 19456."""
    PASSWORD_HASH_TIME_COST: Annotated[int, Field(ge=1)] = 2
    """argon2id passes. OWASP's floor is 2 at 19456 KiB."""
    EMAIL_VERIFICATION: Literal["required", "optional"] = "required"
    """Whether an address must be confirmed before the first sign-in."""
    REQUIRE_MFA: WhoNeedsSecondStep = "admins"
    """Who needs a second step: `none`, `admins` (whose role allows anything), `all`. Whoever lacks one is led to it."""
    TOTP_SKEW: Annotated[int, Field(ge=0, le=1)] = 1
    """Former time steps whose code is still taken; 0 is the strict reading."""
    VERIFY_LINK_HOURS: Annotated[int, Field(ge=1, le=168)] = 24
    """Life of the link that confirms an address."""
    RESET_LINK_MINUTES: Annotated[int, Field(ge=5, le=1440)] = 30
    """Life of the link that sets a new password."""
    INVITE_LINK_HOURS: Annotated[int, Field(ge=1, le=720)] = 72
    """Life of an invitation."""

    ACCOUNT_DELETION_DAYS: Annotated[int, Field(ge=1, le=90)] = 14
    """An account whose owner deletes it goes after this; until then they can undo it."""
    DATA_EXPORT_DAYS: Annotated[int, Field(ge=1, le=30)] = 7
    """A copy of somebody's data is kept, and its mailed link good, for this long."""

    AUTH0_DOMAIN: Host = ""
    """Auth0 tenant, such as `example.eu.auth0.com`. Everybody else: OIDC_ISSUER."""
    OIDC_ISSUER: Issuer = ""
    """Any other OpenID Connect issuer, exactly as its tokens bear it: `https://login.example.com/realms/main`."""
    CLIENT_ID: str = ""
    """The application's client id at the issuer."""
    CLIENT_SECRET: SecretText = ""
    """The application's client secret at the issuer."""
    OIDC_NAME: Annotated[str, Field(max_length=40)] = ""
    """What the button calls the issuer. Empty: Auth0, or "your organisation"."""
    OIDC_AUDIENCE: str = ""
    """The API's audience at the issuer. Its access tokens for it then open our API; empty: none does."""
    OIDC_MFA_VALUES: Words = ("mfa", "http://schemas.openid.net/pape/policies/2007/06/multi-factor")
    """Values of `amr` or `acr`, comma separated, that prove a second step at the issuer; ours is not asked then.
    `none`: ours is always asked."""
    OIDC_HOSTS: Hosts = ()
    """Further hosts that the issuer's endpoints live on, comma separated. Google needs two."""
    OIDC_PRIVATE_NETWORK: bool = False
    """The issuer lives at a private address, such as 10.0.0.7."""
    MEDIA_DIR: str = ""
    """Folder of profile pictures, shared by web and worker. Empty: instance/media."""
    AWS_S3_BUCKET: str = ""
    """Keep profile pictures in this bucket instead (needs boto3; keys come from where boto3 looks for them)."""
    AWS_REGION: str = ""
    """The bucket's region."""
    AWS_S3_ENDPOINT_URL: str = ""
    """Another server that speaks S3, such as MinIO."""

    MAIL_SERVER: Host = ""
    """SMTP server. Empty: development keeps mails for /dev/mail."""
    MAIL_PORT: Port = 587
    """SMTP port."""
    MAIL_USE_TLS: bool = True
    """STARTTLS, required and verified."""
    MAIL_USE_SSL: bool = False
    """TLS from the first byte (port 465), instead of MAIL_USE_TLS."""
    MAIL_USERNAME: str = ""
    """SMTP user."""
    MAIL_PASSWORD: SecretText = ""
    """SMTP password."""
    MAIL_DEFAULT_SENDER: Sender = ""
    """Sender of every mail: an address, or `Name <address>`."""
    MAIL_TIMEOUT_SECONDS: Seconds = 10
    """Wait this long for the SMTP server."""

    LOG_LEVEL: LogLevel = "INFO"
    """Least level that is logged; of libraries never under INFO."""
    LOG_FORMAT: LogFormat = "json"
    """JSON lines, or text for people."""
    LOG_DIR: str = ""
    """Also write flask_app.log and error.log in this folder, rotated at 10 MiB."""

    FLASK_HOST: Host = "127.0.0.1"
    """Address to listen on."""
    FLASK_PORT: Port = 5000
    """Port to listen on."""
    PORT: Port | None = None
    """The same, as platforms name it; wins over FLASK_PORT."""
    GUNICORN_BIND: str = ""
    """Where gunicorn listens instead: host:port, or `unix:/run/portico/web.sock`."""
    GUNICORN_WORKERS: Annotated[int, Field(ge=1, le=256)] | None = None
    """Web processes. Empty: the machine's cores."""
    GUNICORN_THREADS: Annotated[int, Field(ge=1, le=128)] = 4
    """Threads of a web process."""
    GUNICORN_DRAIN_SECONDS: Annotated[int, Field(ge=0, le=25)] = 0
    """After SIGTERM serve on this long, /health/ready at 503, before stopping."""

    def faults(self) -> list[tuple[str, str]]:
        faults = super().faults()
        if self.SECRET_KEY and self.SECRET_KEY == self.JWT_SECRET_KEY:
            faults.append(("JWT_SECRET_KEY", "must differ from SECRET_KEY"))
        if self.MAIL_USE_TLS and self.MAIL_USE_SSL:
            faults.append(("MAIL_USE_SSL", "can't be combined with MAIL_USE_TLS; set MAIL_USE_TLS=false"))
        if self.MAIL_SERVER and self.MAIL_PORT == SMTP_OVER_TLS and not self.MAIL_USE_SSL:
            faults.append(("MAIL_PORT", "465 wants MAIL_USE_SSL=true and MAIL_USE_TLS=false"))
        if self.HEALTH_TOKEN and len(self.HEALTH_TOKEN) < 16:
            faults.append(("HEALTH_TOKEN", "needs at least 16 characters"))
        return faults + faults_of(self, self.ENVIRONMENT)

    @property
    def port(self) -> int:
        """The port to listen on: PORT, else FLASK_PORT."""
        return self.PORT or self.FLASK_PORT

    @property
    def trusted_hosts(self) -> tuple[str, ...]:
        """Host names that are answered: the site's own, and those of TRUSTED_HOSTS."""
        return (urlsplit(self.url).hostname or "", *self.TRUSTED_HOSTS)

    @property
    def url(self) -> str:
        """Where people reach the site, without a slash at the end."""
        return self.BASE_URL or url_of(self.FLASK_HOST, self.port)


class DevelopmentConfig(Config):
    """A developer's machine: no variable needed, plain http, text logs, secrets made once under instance/."""

    ENVIRONMENT: ClassVar[str] = "development"
    LOG_FORMAT: LogFormat = "text"
    SESSION_COOKIE_SECURE: bool = False
    REQUIRE_MFA: WhoNeedsSecondStep = "none"
    MAIL_DEFAULT_SENDER: Sender = "portico@localhost.localdomain"

    @property
    def trusted_hosts(self) -> tuple[str, ...]:
        """This machine's own names too."""
        return (*super().trusted_hosts, *names_in_development(self.FLASK_HOST))

    @classmethod
    def files(cls) -> Mapping[str, Path]:
        return {".env": DOTENV, "made for development": MADE}

    @classmethod
    def draft(cls, **overrides: Any) -> tuple[Self, dict[str, str]]:
        make_secrets(MADE)
        return super().draft(**overrides)


class TestingConfig(Config):
    """Automated tests: fixed throw-away secrets, cheap password hashes, quiet logs."""

    __test__ = False  # not a test class, whatever its name suggests to pytest
    ENVIRONMENT: ClassVar[str] = "testing"
    SECRET_KEY: Secret = "testing-only-cookie-signing-key-0123456789"  # noqa: S105 - refused elsewhere
    JWT_SECRET_KEY: Secret = "testing-only-access-token-key-9876543210"  # noqa: S105 - refused elsewhere
    FIELD_ENCRYPTION_KEY: EncryptionKeys = TESTING_KEY
    BASE_URL: BaseUrl = "http://localhost"
    SESSION_COOKIE_SECURE: bool = False
    REQUIRE_MFA: WhoNeedsSecondStep = "none"
    PASSWORD_HASH_MEMORY_KIB: Annotated[int, Field(ge=8)] = 8
    PASSWORD_HASH_TIME_COST: Annotated[int, Field(ge=1)] = 1
    LOG_LEVEL: LogLevel = "WARNING"
    EVEN_ANSWERS_MILLISECONDS: Annotated[int, Field(ge=0)] = 0
    MAIL_DEFAULT_SENDER: Sender = "portico@example.com"


class ProductionConfig(Config):
    """The real thing: everything that matters must be said, nothing unsafe is accepted."""

    ENVIRONMENT: ClassVar[str] = "production"
    REQUIRED: ClassVar[tuple[str, ...]] = (
        *Config.REQUIRED,
        "DATABASE_URL",
        "BASE_URL",
        "MAIL_SERVER",
        "MAIL_DEFAULT_SENDER",
    )
    FORCE_HTTPS: bool = True

    def faults(self) -> list[tuple[str, str]]:
        # Each line: the variable, what is wrong, whether it is.
        checks = (
            ("FLASK_DEBUG", "must be off outside development", self.FLASK_DEBUG),
            ("SQLALCHEMY_ECHO", "must be off outside development: values are in it", self.SQLALCHEMY_ECHO),
            ("BASE_URL", "must start with https:// outside development", self.BASE_URL.startswith("http:")),
            ("TRUSTED_HOSTS", "* trusts everybody; name the hosts", "*" in self.TRUSTED_HOSTS),
            ("SESSION_COOKIE_SECURE", "must be on outside development", not self.SESSION_COOKIE_SECURE),
            ("PASSWORD_HASH_MEMORY_KIB", "times PASSWORD_HASH_TIME_COST is under OWASP's floor (19456 x 2)",
             self.PASSWORD_HASH_MEMORY_KIB * self.PASSWORD_HASH_TIME_COST < LEAST_HASH_COST),
            ("FIELD_ENCRYPTION_KEY", "is the one of the tests",
             TESTING_KEY in self.FIELD_ENCRYPTION_KEY),
        )  # fmt: skip
        wrong = [(name, reason) for name, reason, is_wrong in checks if is_wrong]
        return super().faults() + wrong + tls.faults_of(self)


class StagingConfig(ProductionConfig):
    """Production's rules on a machine for trying things out."""

    ENVIRONMENT: ClassVar[str] = "staging"


ENVIRONMENTS: dict[str, type[Config]] = {
    config.ENVIRONMENT: config
    for config in (DevelopmentConfig, TestingConfig, StagingConfig, ProductionConfig)
}


def environment(name: str | None = None) -> type[Config]:
    """The settings class called `name`, or the one FLASK_CONFIG (or FLASK_ENV) names; development otherwise.

    Raises ConfigurationError for another name, and when only .env names staging or production: there it is not read.
    """
    chosen = name or os.environ.get("FLASK_CONFIG") or os.environ.get("FLASK_ENV")
    in_dotenv = in_file(DOTENV)
    hidden = in_dotenv.get("FLASK_CONFIG") or in_dotenv.get("FLASK_ENV") or "development"
    if not chosen and hidden != "development":
        raise ConfigurationError(["FLASK_CONFIG: set it in the environment; .env is for development alone"])
    if (chosen or hidden) not in ENVIRONMENTS:
        raise ConfigurationError([f"FLASK_CONFIG: must be one of {', '.join(ENVIRONMENTS)}"])
    return ENVIRONMENTS[chosen or hidden]
