"""One WSGI wrapper around the app: proxies, request id, security and cache headers, https, access log.

As Flask hooks the same work costs three times as much (docs/architecture.md, "What a request costs").
"""

import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from blueprints.http.hosts import Hosts
from blueprints.http.logs import write_access
from blueprints.http.proxies import Proxies
from services.origin import set_origin

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ALWAYS = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    (
        "Permissions-Policy",
        "camera=(), microphone=(), geolocation=(), payment=(), usb=(), "
        "publickey-credentials-get=(self), publickey-credentials-create=(self)",
    ),
    ("X-Frame-Options", "DENY"),
    ("X-Permitted-Cross-Domain-Policies", "none"),
    ("Cache-Control", "no-store"),
)
HSTS = ("Strict-Transport-Security", "max-age=63072000; includeSubDomains")
API_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
PAGE_POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "font-src": "'self'",
    "connect-src": "'self'",
    "manifest-src": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
    "object-src": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}
#: In the environment of a request: whether its Host is none of ours.
FOREIGN_HOST = "portico.foreign_host"
#: Likewise: whether it came over http, and may not be redirected. That would teach programs to send their tokens in the
#: clear first (ASVS 4.1.2), and forms their passwords.
INSECURE = "portico.insecure"
REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{7,63}", re.ASCII)
FORBIDDEN_IN_LOG = re.compile(r"[^\x20-\x7e]")


def page_policy(**directives: str) -> str:
    """The pages' Content-Security-Policy with some directives (`frame_src="'self'"`) replaced."""
    changed = {name.replace("_", "-"): value for name, value in directives.items()}
    return "; ".join(f"{name} {value}" for name, value in {**PAGE_POLICY, **changed}.items())


def nonce(environ: "WSGIEnvironment") -> str:
    """This answer's nonce for inline scripts; made when a page first asks."""
    if "portico.nonce" not in environ:
        environ["portico.nonce"] = secrets.token_urlsafe(16)
    return str(environ["portico.nonce"])


class Porch:
    """Wraps the app's `wsgi_app`."""

    def __init__(
        self,
        app: "WSGIApplication",
        *,
        base_url: str,
        hosts: Hosts,
        proxies: Proxies,
        force_https: bool,
    ) -> None:
        self.app = app
        self.base_url = base_url
        self.own_host = urlsplit(base_url).netloc
        self.hosts = hosts
        self.proxies = proxies
        self.force_https = force_https

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        began = time.perf_counter()
        self.proxies.find_caller(environ)
        request_id = environ.get("HTTP_X_REQUEST_ID", "")
        if not REQUEST_ID.fullmatch(request_id):
            request_id = secrets.token_hex(16)
        environ["portico.request_id"] = request_id
        agent = environ.get("HTTP_USER_AGENT")
        set_origin(
            environ.get("REMOTE_ADDR") or None,
            FORBIDDEN_IN_LOG.sub("?", agent)[:300] if agent else None,
            request_id,
        )

        def respond(
            status: str, headers: list[tuple[str, str]], exc_info: Any = None
        ) -> Callable[[bytes], object]:
            self._dress(environ, headers, request_id)
            _log(environ, status, began)
            return start_response(status, headers, exc_info)

        self._read_host(environ)
        if self._is_insecure(environ):
            if environ["REQUEST_METHOD"] in {"GET", "HEAD"} and not _is_call(environ):
                respond(*self._redirect(environ))
                return []
            environ[INSECURE] = True
        return self.app(environ, respond)

    def _is_insecure(self, environ: "WSGIEnvironment") -> bool:
        """Whether this should have come over https. Foreign hosts are refused in any case, probes never."""
        if not self.force_https or environ["wsgi.url_scheme"] == "https" or environ[FOREIGN_HOST]:
            return False
        return not is_probe(_path(environ))

    def _redirect(self, environ: "WSGIEnvironment") -> tuple[str, list[tuple[str, str]]]:
        path = environ.get("PATH_INFO", "").encode("latin-1", "replace").decode("utf-8", "replace")
        query = environ.get("QUERY_STRING", "")
        target = self.base_url + quote(path, safe="/~:@!$&'()*+,;=-._") + (f"?{query}" if query else "")
        return "308 Permanent Redirect", [("Location", target), ("Content-Length", "0")]

    def _read_host(self, environ: "WSGIEnvironment") -> None:
        """Note a foreign Host for the guard, and go on under our own: no address is built with what a stranger sent."""
        host = self.hosts.read(environ.get("HTTP_HOST", ""))
        environ[FOREIGN_HOST] = host is None
        environ["HTTP_HOST"] = self.own_host if host is None else host

    def _dress(self, environ: "WSGIEnvironment", headers: list[tuple[str, str]], request_id: str) -> None:
        given = {name.lower() for name, _ in headers}
        headers += [header for header in ALWAYS if header[0].lower() not in given]
        headers.append(("X-Request-ID", request_id))
        if "content-security-policy" not in given:
            headers.append(("Content-Security-Policy", _policy(environ)))
        if environ["wsgi.url_scheme"] == "https":
            headers.append(HSTS)


def is_probe(path: str) -> bool:
    """Whether this is for probes, which come by address instead of by name, and over http."""
    return path == "/health" or path.startswith("/health/")


def _is_call(environ: "WSGIEnvironment") -> bool:
    return _path(environ).startswith("/api/")


def _path(environ: "WSGIEnvironment") -> str:
    """The path as views are found by: slashes at its beginning count as one."""
    return "/" + str(environ.get("PATH_INFO", "")).lstrip("/")


def _policy(environ: "WSGIEnvironment") -> str:
    if _is_call(environ) or is_probe(_path(environ)):
        return API_POLICY
    made = environ.get("portico.nonce")
    directives = {"script_src": f"'self' 'nonce-{made}'"} if made else {}
    policy = page_policy(**directives)
    return f"{policy}; upgrade-insecure-requests" if environ["wsgi.url_scheme"] == "https" else policy


def _log(environ: Mapping[str, Any], status: str, began: float) -> None:
    write_access(
        {
            "method": environ["REQUEST_METHOD"],
            "path": FORBIDDEN_IN_LOG.sub("?", environ.get("PATH_INFO", "")),
            "route": environ.get("portico.route"),
            "status": int(status[:3]),
            "duration_ms": round((time.perf_counter() - began) * 1000, 2),
            "address": environ.get("REMOTE_ADDR"),
            "user_id": environ.get("portico.user_id"),
            "request_id": environ["portico.request_id"],
        }
    )
