"""Settings are typed and checked: which values are read and which are refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import config
from config import Config, DevelopmentConfig, ProductionConfig, StagingConfig, TestingConfig
from services.settings.kinds import base_url, checks_certificate, is_near
from services.settings.tls import checks_redis
from tests.unit.settings.settings import GOOD, faults_of

pytestmark = pytest.mark.unit


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
        ("TRUSTED_PROXIES", "::ffff:0:0/96"),
        ("DATABASE_URL", "sqlite:///app.db"),
        ("DATABASE_URL", "postgresql://db"),
        ("DATABASE_URL", "postgresql://app@db.example.com/app"),
        ("DATABASE_URL", "postgresql://app@db.example.com/app?sslmode=require"),
        ("DATABASE_URL", "postgresql://app@db,db.example.com/app"),
        ("DATABASE_URL", "postgresql://app@db/app?hostaddr=203.0.113.7"),
        ("REDIS_URL", "http://redis"),
        ("REDIS_URL", "redis://:pass/word@redis:port"),
        ("REDIS_URL", "unix://"),
        ("REDIS_URL", "redis://redis.example.com"),
        ("REDIS_URL", "redis://redis.example.com?sslmode=verify-full"),
        ("REDIS_URL", "redis://redis%2Eexample%2Ecom"),
        ("REDIS_URL", "redis:///0?host=redis.example.com"),
        ("REDIS_URL", "redis://10.0.0.4"),
        ("REDIS_URL", "rediss://redis.example.com?ssl_cert_reqs=none"),
        ("REDIS_URL", "rediss://redis.example.com?ssl_check_hostname=false"),
        ("RATELIMIT_STORAGE_URI", "memory://"),
        ("RATELIMIT_STORAGE_URI", "redis://redis.example.com"),
        ("AWS_S3_ENDPOINT_URL", "http://minio.example.com:9000"),
        ("AWS_S3_ENDPOINT_URL", "http://["),
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
        ("TRUSTED_PROXIES", "::ffff:10.0.0.0/104,fe80::1%eth0", ("::ffff:10.0.0.0/104", "fe80::1%eth0")),
        ("TRUSTED_HOSTS", ".example.com,127.0.0.1", (".example.com", "127.0.0.1")),
        ("BASE_URL", "https://app.example.com:8443/", "https://app.example.com:8443"),
        ("BASE_URL", "https://[2001:db8::1]", "https://[2001:db8::1]"),
        ("DATABASE_URL", "postgres://a:b@db/app", "postgresql+psycopg2://a:b@db/app"),
        ("DATABASE_URL", "postgresql:///app?host=/run/pg", "postgresql+psycopg2:///app?host=/run/pg"),
        ("REDIS_URL", "redis://redis:6379/0", "redis://redis:6379/0"),
        ("REDIS_URL", "redis://[::1]:6379", "redis://[::1]:6379"),
        ("REDIS_URL", "rediss://redis.example.com:6380/0", "rediss://redis.example.com:6380/0"),
        ("REDIS_URL", "unix:///run/redis.sock?db=1", "redis+unix:///run/redis.sock?db=1"),
        ("RATELIMIT_STORAGE_URI", "unix:///run/redis.sock", "redis+unix:///run/redis.sock"),
        ("AWS_S3_ENDPOINT_URL", "http://minio:9000", "http://minio:9000"),
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


def test_a_distant_redis_without_proof_is_a_choice(production: pytest.MonkeyPatch) -> None:
    production.setenv("REDIS_URL", "redis://redis.example.com/0")
    production.setenv("REDIS_TLS", "optional")
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
        ({}, "http://localhost:5000"),
        ({"PORT": 5050}, "http://localhost:5050"),
        ({"FLASK_PORT": 5051}, "http://localhost:5051"),
        ({"PORT": 5050, "FLASK_PORT": 5051}, "http://localhost:5050"),
        ({"FLASK_HOST": "0.0.0.0"}, "http://localhost:5000"),
        ({"FLASK_HOST": "::1"}, "http://[::1]:5000"),
        ({"FLASK_HOST": "192.0.2.7"}, "http://192.0.2.7:5000"),
        ({"FLASK_HOST": "2001:db8::7"}, "http://[2001:db8::7]:5000"),
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


@given(st.text(max_size=80))
def test_any_redis_url_is_judged(text: str) -> None:
    settings, faults = TestingConfig.draft(REDIS_URL=f"redis://{text}")
    if not faults:
        checks_redis(settings.REDIS_URL)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://app.example.com:443/", "https://app.example.com"),
        ("https://app.example.com:", "https://app.example.com"),
        ("http://localhost:80", "http://localhost"),
        ("https://[2001:db8::1]:0443", "https://[2001:db8::1]"),
        ("https://app.example.com:8443", "https://app.example.com:8443"),
        ("https://app.example.com:80", "https://app.example.com:80"),
    ],
)
def test_base_url_is_written_as_browsers_write_an_origin(given: str, kept: str) -> None:
    assert base_url(given) == kept
