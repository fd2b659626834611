"""The kinds of values a setting can have. Each refuses with a reason that never repeats the value."""

import ipaddress
import re
from collections.abc import Callable
from email.utils import parseaddr
from typing import Annotated, Literal
from urllib.parse import parse_qs, urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.fernet import Fernet
from pydantic import AfterValidator, BeforeValidator, Field

from services.addresses import plain_network
from services.pem import private_key, public_keys

#: Told as "set" or "not set" only, and read from NAME_FILE too.
SECRET = {"secret": True}
SHORTEST_SECRET = 32
#: Of guides, tutorials and CVE-2023-27524; and our own for tests.
KNOWN_EXAMPLES = (
    "change-me", "change_me", "changeme", "default", "dev-key", "dev-secret", "devkey", "example", "insecure",
    "my-secret", "my_secret", "mysecret", "password", "placeholder", "replace-me", "replaceme", "secret-key",
    "secret_key", "secretkey", "super-secret", "super_secret", "supersecret", "temporary", "testing-only",
    "this-is-a-secret", "thisisasecret", "thisismyscretkey", "your-secret", "your_secret", "yoursecret",
)  # fmt: skip
HOST_NAME = re.compile(
    r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.I
)
ADDRESS = re.compile(r"[^\s@<>\x00-\x1f]{1,64}@[^\s@<>\x00-\x1f]{1,253}")
DEFAULT_PORTS = {"http": 80, "https": 443}
DRIVER = "postgresql+psycopg2://"
VERIFIED = frozenset({"verify-ca", "verify-full"})
REDIS_SOCKET = "redis+unix"
REDIS_SCHEMES = frozenset({"redis", "rediss", REDIS_SOCKET})
WIDEST_TRUST_BITS = 8


def secret(value: str) -> str:
    """A secret of at least 32 characters, with some variety, that is no known example."""
    if not value:
        return ""
    if len(value) < SHORTEST_SECRET:
        raise ValueError(
            f"needs at least {SHORTEST_SECRET} characters; make one with: openssl rand -base64 48"
        )
    if len(set(value)) < 8 or any(word in value.lower() for word in KNOWN_EXAMPLES):
        raise ValueError("is a known example or too regular; make one with: openssl rand -base64 48")
    return value


def words(value: str | tuple[str, ...]) -> tuple[str, ...]:
    """Comma separated words."""
    found = value.split(",") if isinstance(value, str) else value
    return tuple(word.strip() for word in found if word.strip())


def secrets(value: str | tuple[str, ...]) -> tuple[str, ...]:
    """Comma separated secrets, each as good as a single one."""
    return tuple(secret(word) for word in words(value))


def signing_key(value: str) -> str:
    """An Ed25519 private key in PEM."""
    return _checked_pem(
        value,
        private_key,
        "must be an Ed25519 private key in PEM; make one with: openssl genpkey -algorithm ed25519",
    )


def former_keys(value: str) -> str:
    """Ed25519 public keys in PEM."""
    return _checked_pem(value, public_keys, "must be Ed25519 public keys in PEM, one after the other")


def _checked_pem(value: str, read: Callable[[str], object], reason: str) -> str:
    if value:
        try:
            read(value)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise ValueError(reason) from None
    return value


def encryption_keys(value: str) -> str:
    """Fernet keys, comma separated, newest first."""
    for key in words(value):
        try:
            Fernet(key)
        except ValueError:
            raise ValueError(
                "each key must be 32 bytes in URL-safe base64; make one with: openssl rand -base64 32 | tr '+/' '-_'"
            ) from None
    return value


def networks(value: str | tuple[str, ...]) -> tuple[str, ...]:
    """Comma separated addresses or networks; one so wide that strangers are in it is refused."""
    found = words(value)
    for word in found:
        try:
            network = plain_network(word)
        except ValueError:
            raise ValueError("holds something that is neither an address nor a network") from None
        if network.prefixlen < WIDEST_TRUST_BITS:
            raise ValueError("trusts everybody's address; name the proxies")
    return found


def hosts(value: str | tuple[str, ...]) -> tuple[str, ...]:
    """Comma separated host names without ports; `.example.com` takes subdomains, `*` every host."""
    found = words(value)
    if any(word != "*" and not _is_host(word.removeprefix(".")) for word in found):
        raise ValueError("must be host names, comma separated, without http:// and ports")
    return found


def host(value: str) -> str:
    """A host name or an address."""
    if value and not _is_host(value):
        raise ValueError("must be a host name or an address, without a port")
    return value


def base_url(value: str) -> str:
    """An http or https URL of a host and perhaps a port, nothing more; without the port where it is the scheme's own.

    Browsers leave that port out of the origins that they send, and this is compared with them (RFC 6454 section 6.2).
    """
    if not value:
        return ""
    try:
        parts = urlsplit(value)
        port_is_good = parts.port is None or parts.port > 0
    except ValueError:
        port_is_good, parts = False, urlsplit("")
    if parts.scheme not in {"http", "https"} or not port_is_good or not _is_host(parts.hostname or ""):
        raise ValueError("must look like https://app.example.com")
    if parts.path not in {"", "/"} or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("must be a host alone, such as https://app.example.com: no path, no user")
    host_and_port = parts.netloc.rstrip(":")
    if parts.port == DEFAULT_PORTS[parts.scheme]:
        host_and_port = host_and_port[: host_and_port.rindex(":")]
    return f"{parts.scheme}://{host_and_port}"


def issuer(value: str) -> str:
    """An issuer's identifier: an https URL, perhaps with a path; taken exactly as it is, slash at the end and all."""
    if not value:
        return ""
    try:
        parts = urlsplit(value)
        port_is_good = parts.port is None or parts.port > 0
    except ValueError:
        port_is_good, parts = False, urlsplit("")
    if parts.scheme not in {"http", "https"} or not port_is_good or not _is_host(parts.hostname or ""):
        raise ValueError("must look like https://login.example.com/")
    if parts.query or parts.fragment or "@" in parts.netloc or not value.isascii() or not value.isprintable():
        raise ValueError("must be an issuer's identifier: no query, no user")
    return value


def database_url(value: str) -> str:
    """A PostgreSQL URL, in the form SQLAlchemy reads (postgres:// is taken too)."""
    if not value:
        return ""
    url = re.sub(r"^postgres(ql)?(\+psycopg2)?://", DRIVER, value)
    if not url.startswith(DRIVER):
        raise ValueError("must be a PostgreSQL URL: postgresql://user:password@host/database")
    try:
        parts = urlsplit(url)
        has_database = len(parts.path) > 1 and (parts.port is None or parts.port > 0)
    except ValueError:
        raise ValueError(
            "is not a URL; special characters in the password are written as %40 and the like"
        ) from None
    if not has_database:
        raise ValueError("names no database: postgresql://user:password@host/database")
    return url


def redis_url(value: str) -> str:
    """A Redis URL, in the form the counters read (`unix://` is taken too)."""
    if not value:
        return ""
    url = re.sub(r"^unix://", f"{REDIS_SOCKET}://", value)
    if url.partition("://")[0] not in REDIS_SCHEMES:
        raise ValueError("must be a redis://, rediss:// or unix:// URL")
    try:
        parts = urlsplit(url)
        port_is_good = parts.port is None or parts.port > 0
    except ValueError:
        port_is_good, parts = False, urlsplit("")
    if not port_is_good:
        raise ValueError("is not a URL; special characters in the password are written as %40 and the like")
    if parts.scheme == REDIS_SOCKET and not parts.path:
        raise ValueError("names no socket: unix:///run/redis/redis.sock")
    return url


def storage_uri(value: str) -> str:
    """`postgresql` or a Redis URL."""
    return value if value == "postgresql" else redis_url(value)


def sender(value: str) -> str:
    """An address mail can come from, perhaps with a name: Portico <portico@example.com>."""
    if value and not ADDRESS.fullmatch(parseaddr(value)[1]):
        raise ValueError("must be an address such as portico@example.com or Portico <portico@example.com>")
    return value


def line(value: str) -> str:
    """One line of text."""
    if not value.isprintable() or not value.strip():
        raise ValueError("must be one line of text")
    return value.strip()


def always_on(value: bool) -> bool:
    """On; it may be said, but not turned off."""
    if not value:
        raise ValueError("can't be off")
    return value


def is_near(name: str) -> bool:
    """Whether a host is this machine or its container network: an address of loopback, a socket, a one-word name."""
    if not name or name.startswith("/"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return "." not in name


def checks_certificate(url: str) -> bool:
    """Whether a connection to this database is to a near host, or checks who answers."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    names = query.get("host") or [part.rpartition("@")[2] for part in parts.netloc.split(",")]
    names += query.get("hostaddr", [])
    near = all(
        is_near(urlsplit(f"//{name}").hostname or "" if not name.startswith("/") else name) for name in names
    )
    return near or query.get("sslmode", [""])[-1] in VERIFIED


def _is_host(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return HOST_NAME.fullmatch(value) is not None
    return True


Secret = Annotated[str, BeforeValidator(secret), Field(json_schema_extra=SECRET)]
Secrets = Annotated[tuple[str, ...], BeforeValidator(secrets), Field(json_schema_extra=SECRET)]
SecretText = Annotated[str, Field(json_schema_extra=SECRET)]
EncryptionKeys = Annotated[str, BeforeValidator(encryption_keys), Field(json_schema_extra=SECRET)]
SigningKey = Annotated[str, BeforeValidator(signing_key), Field(json_schema_extra=SECRET)]
FormerKeys = Annotated[str, BeforeValidator(former_keys), Field(json_schema_extra=SECRET)]
DatabaseUrl = Annotated[str, BeforeValidator(database_url), Field(json_schema_extra=SECRET)]
RedisUrl = Annotated[str, BeforeValidator(redis_url), Field(json_schema_extra=SECRET)]
StorageUri = Annotated[str, BeforeValidator(storage_uri), Field(json_schema_extra=SECRET)]
Words = Annotated[tuple[str, ...], BeforeValidator(words)]
Networks = Annotated[tuple[str, ...], BeforeValidator(networks)]
Hosts = Annotated[tuple[str, ...], BeforeValidator(hosts)]
Host = Annotated[str, BeforeValidator(host)]
Issuer = Annotated[str, BeforeValidator(issuer)]
BaseUrl = Annotated[str, BeforeValidator(base_url)]
Sender = Annotated[str, BeforeValidator(sender)]
Line = Annotated[str, BeforeValidator(line), Field(max_length=60)]
AlwaysOn = Annotated[bool, AfterValidator(always_on)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=60)]
LogFormat = Literal["json", "text"]
LogLevel = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
