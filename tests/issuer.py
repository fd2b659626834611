"""An OpenID Connect issuer for tests: a strict one on a port of this machine, which can be told to misbehave.

It is no code of the product: it checks what a client sends (PKCE, redirect address, secret, a code once), see RFC 9700.
"""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from werkzeug.serving import BaseWSGIServer, make_server
from werkzeug.wrappers import Request, Response

CLIENT_ID = "portico-tests"
CLIENT_SECRET = "a secret/of the tests+only"
AUDIENCE = "https://api.portico.test"
Claims = dict[str, Any]


@dataclass
class Signer:
    """A key of the issuer."""

    id: str
    algorithm: str
    private: Any

    def jwk(self) -> dict[str, Any]:
        """Its public half."""
        kinds: dict[str, Any] = {"RS": jwt.algorithms.RSAAlgorithm, "ES": jwt.algorithms.ECAlgorithm}
        public = json.loads(kinds[self.algorithm[:2]].to_jwk(self.private.public_key()))
        return {**public, "kid": self.id, "use": "sig", "alg": self.algorithm}


_RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def signer(name: str = "first", algorithm: str = "RS256") -> Signer:
    """A key; RSA ones take long to make, so the first is one for all tests."""
    if algorithm == "RS256" and name == "first":
        return Signer(name, algorithm, _RSA)
    if algorithm == "RS256":
        return Signer(name, algorithm, rsa.generate_private_key(public_exponent=65537, key_size=2048))
    return Signer(name, algorithm, ec.generate_private_key(ec.SECP256R1()))


@dataclass
class Person:
    """Somebody with an account at the issuer."""

    subject: str = "auth0|alice"
    email: str | None = "alice@example.com"
    email_verified: Any = True
    name: str | None = "Alice Elsewhere"
    more: Claims = field(default_factory=dict)


class FakeIssuer:
    """One realm. Set `who` to choose who signs in; the hooks change what it says."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.who = Person()
        self.keys = [signer()]
        self.signs_with: Signer | None = None
        self.requests: list[str] = []
        self.asked: dict[str, str] = {}
        self.metadata_changes: Claims = {}
        self.header_changes: Claims = {}
        self.claim_changes: Callable[[Claims], Claims | None] = lambda claims: claims
        self.make_token: Callable[[Claims], str] | None = None
        self.userinfo_changes: Claims = {}
        self.in_userinfo_only = False
        self.answers: dict[str, Response] = {}
        self.hangs: set[str] = set()
        self.resume = threading.Event()
        self.age_seconds = 0
        self._codes: dict[str, dict[str, str]] = {}

    def metadata(self) -> dict[str, Any]:
        """The discovery document."""
        told = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "jwks_uri": f"{self.url}/keys",
            "response_types_supported": ["code"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "authorization_response_iss_parameter_supported": True,
        }
        return {name: value for name, value in (told | self.metadata_changes).items() if value is not None}

    def authorize(self, url: str) -> str:
        """Somebody signs in at the address we sent the browser to: the address he is sent back to."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert url.startswith(f"{self.url}/authorize?"), url
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT_ID
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        self.asked = asked
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        back = {"code": code, "state": asked["state"], "iss": self.url}
        return f"{asked['redirect_uri']}?{urlencode(back)}"

    def id_claims(self, nonce: str | None) -> Claims:
        """What an honest ID token says."""
        moment = int(time.time())
        claims: Claims = {
            "iss": self.url,
            "aud": CLIENT_ID,
            "sub": self.who.subject,
            "iat": moment,
            "exp": moment + 300,
            "nonce": nonce,
            "auth_time": moment - self.age_seconds,
        }
        if not self.in_userinfo_only:
            claims |= self._profile()
        return claims | self.who.more

    def access_token(self, **changes: Any) -> str:
        """An access token for the API, as RFC 9068 has it; None leaves a claim out."""
        moment = int(time.time())
        claims: Claims = {
            "iss": self.url,
            "aud": [AUDIENCE, f"{self.url}/userinfo"],
            "sub": self.who.subject,
            "client_id": "another-client",
            "iat": moment,
            "exp": moment + 300,
            "jti": secrets.token_hex(8),
            "scope": "openid profile",
        }
        kept = {name: value for name, value in (claims | changes).items() if value is not None}
        return self.sign(kept, typ="at+jwt")

    def sign(self, claims: Claims, **header: Any) -> str:
        """A token signed by the present key."""
        key = self.signs_with or self.keys[0]
        headers = {"kid": key.id, **header} | self.header_changes
        return jwt.encode(claims, key.private, algorithm=key.algorithm, headers=headers)

    def __call__(self, environ: Any, start_response: Any) -> Any:
        request = Request(environ)
        path = "/" + request.path.rsplit("/", 1)[-1]
        self.requests.append(path)
        if path in self.hangs:
            self.resume.wait(8)
        views = {
            "/openid-configuration": lambda _: _json(self.metadata()),
            "/keys": lambda _: _json({"keys": [key.jwk() for key in self.keys]}),
            "/authorize": lambda asked: Response(status=302, headers={"Location": self.authorize(asked.url)}),
            "/token": self._token,
            "/userinfo": lambda _: _json(
                {"sub": self.who.subject, **self._profile(), **self.userinfo_changes}
            ),
        }
        view: Any = self.answers.get(path) or views.get(path, lambda _: Response(status=404))
        answer = view(request) if not isinstance(view, Response) else view
        return answer(environ, start_response)

    def _profile(self) -> Claims:
        who = self.who
        told = {"email": who.email, "email_verified": who.email_verified, "name": who.name}
        return {name: value for name, value in told.items() if value is not None}

    def _token(self, request: Request) -> Response:
        asked = self._codes.pop(request.form.get("code", ""), None)
        verifier = request.form.get("code_verifier", "")
        digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        if not _knows_the_secret(request):
            return _json({"error": "invalid_client"}, 401)
        if (
            asked is None
            or digest != asked["code_challenge"]
            or request.form["redirect_uri"] != asked["redirect_uri"]
        ):
            return _json({"error": "invalid_grant"}, 400)
        claims = self.claim_changes(self.id_claims(asked.get("nonce"))) or {}
        token = self.make_token(claims) if self.make_token else self.sign(claims)
        return _json({"access_token": secrets.token_hex(8), "token_type": "Bearer", "id_token": token})


def _knows_the_secret(request: Request) -> bool:
    if request.authorization is not None:
        pair = (request.authorization.username or "", request.authorization.password or "")
        return (unquote_plus(pair[0]), unquote_plus(pair[1])) == (CLIENT_ID, CLIENT_SECRET)
    return (request.form.get("client_id"), request.form.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)


def _json(told: Mapping[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(told), status=status, content_type="application/json")


class _Realms:
    """Two issuers on one host, told apart by the first part of the path."""

    def __init__(self) -> None:
        self.realms: dict[str, FakeIssuer] = {}

    def __call__(self, environ: Any, start_response: Any) -> Any:
        name = environ["PATH_INFO"].split("/")[1]
        realm: Any = self.realms.get(name, Response(status=404))
        return realm(environ, start_response)


@contextmanager
def running() -> Iterator[tuple[FakeIssuer, FakeIssuer]]:
    """Two realms of one server: the one that is configured, and another."""
    realms = _Realms()
    server: BaseWSGIServer = make_server("127.0.0.1", 0, realms, threaded=True)
    main, other = (FakeIssuer(f"http://127.0.0.1:{server.port}/{name}") for name in ("main", "other"))
    realms.realms = {"main": main, "other": other}
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield main, other
    finally:
        main.resume.set()
        server.shutdown()
        server.server_close()
        thread.join()
