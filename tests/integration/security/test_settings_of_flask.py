"""Keys of the configuration that Flask and its extensions read themselves: none of ours means something else there."""

import re
from importlib.util import find_spec
from pathlib import Path

from flask import Flask

from config import Config

#: Whoever gets `app.config` in its hands.
READERS = ("flask", "flask_login", "flask_migrate", "flask_sqlalchemy", "flask_wtf")
KEY = re.compile(
    r"""(?:config\[|config\.get\(|config\.setdefault\(|ConfigAttribute[^(]*\()\s*["']([A-Z][A-Z0-9_]+)["']"""
)
#: Variables of ours that they read too, and mean the same by.
SHARED = {
    "SECRET_KEY",
    "SECRET_KEY_FALLBACKS",
    "SESSION_COOKIE_HTTPONLY",
    "SESSION_COOKIE_SAMESITE",
    "SESSION_COOKIE_SECURE",
    "SQLALCHEMY_ECHO",
}
#: Variables of ours that mean something else to them, and so never come under that key.
KEPT_AWAY = {"TRUSTED_HOSTS"}


def read_by_others() -> set[str]:
    """Every key in their source, and those that Flask has defaults for."""
    found = set(Flask.default_config)
    for name in READERS:
        spec = find_spec(name)
        assert spec is not None
        for folder in spec.submodule_search_locations or ():
            for source in Path(folder).rglob("*.py"):
                found |= set(KEY.findall(source.read_text(encoding="utf-8")))
    return found


def test_no_variable_means_something_else_to_flask() -> None:
    known = read_by_others()
    assert known >= {"TRUSTED_HOSTS", "SERVER_NAME", "WTF_CSRF_ENABLED", "LOGIN_DISABLED", "SQLALCHEMY_BINDS"}
    assert set(Config.model_fields) & known == SHARED | KEPT_AWAY


def test_flask_does_not_look_at_hosts_itself(app: Flask) -> None:
    assert {name: app.config[name] for name in KEPT_AWAY} == {"TRUSTED_HOSTS": None}


def test_what_flask_reads_is_as_the_product_wants_it(app: Flask) -> None:
    """No address is built from a name or a path in the settings, and no cookie reaches another host."""
    wanted = {
        "APPLICATION_ROOT": "/",
        "MAX_CONTENT_LENGTH": 1024 * 1024,
        "MAX_FORM_MEMORY_SIZE": 64 * 1024,
        "MAX_FORM_PARTS": 100,
        "PROPAGATE_EXCEPTIONS": False,
        "SEND_FILE_MAX_AGE_DEFAULT": None,
        "SERVER_NAME": None,
        "SESSION_COOKIE_DOMAIN": None,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_PATH": "/",
        "TRAP_BAD_REQUEST_ERRORS": None,
        "TRAP_HTTP_EXCEPTIONS": False,
        "USE_X_SENDFILE": False,
    }
    assert {name: app.config[name] for name in wanted} == wanted
    assert not {"LOGIN_DISABLED", "WTF_CSRF_EXEMPT_LIST"} & set(app.config)
    assert app.config["WTF_CSRF_ENABLED"] is True
