"""Calls to other servers: to named hosts only, over TLS, within five seconds, without redirects (ASVS 1.3.6, 13.2.4).

Names are resolved first and the connection goes to an address that was looked at, so that a name can't change its mind
in between. Whatever hangs, in DNS, TLS, headers or body, the caller waits five seconds and no longer.
"""

import http.client
import ipaddress
import json
import socket
import ssl
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode, urlsplit

from services.settings.oidc import LOCAL_NAMES

SECONDS = 5.0
MOST_BYTES = 1024 * 1024
#: Calls under way at once in a process: a server that hangs can't bind every thread.
MOST_CALLS = 8


class OutboundFailed(Exception):
    """The other server is away, slow, or answered something that can't be used."""


class OutboundRefused(Exception):
    """The address is none we call."""


class Refusal(OutboundFailed):
    """The other server answered with an error; `status` and `body` tell."""

    def __init__(self, status: int, body: bytes) -> None:
        self.status = status
        self.body = body
        super().__init__(f"status {status}")


@dataclass(frozen=True, slots=True)
class Hosts:
    """Whom we call: hosts with their ports, and whether this machine and private addresses are meant."""

    names: frozenset[str]
    allows_local: bool = False
    allows_private: bool = False

    def check(self, url: str) -> None:
        """Raise OutboundRefused unless `url` is https (or http to this machine, where allowed) on one of the hosts."""
        try:
            parts = urlsplit(url)
            name, host = netloc(url), parts.hostname or ""
        except ValueError:
            raise OutboundRefused("no URL") from None
        is_local = self.allows_local and host in LOCAL_NAMES
        if parts.scheme != "https" and not (is_local and parts.scheme == "http"):
            raise OutboundRefused("not https")
        if "@" in parts.netloc or parts.fragment or name not in self.names:
            raise OutboundRefused("not one of the issuer's hosts")
        if not url.isascii() or not url.isprintable() or " " in url:
            raise OutboundRefused("no URL")

    def check_address(self, address: str) -> None:
        """Raise OutboundRefused for an address of this machine or a private network that is not meant."""
        parsed = ipaddress.ip_address(address.partition("%")[0])
        parsed = getattr(parsed, "ipv4_mapped", None) or parsed
        if parsed.is_loopback and self.allows_local:
            return
        is_private = parsed.is_private and not parsed.is_loopback and not parsed.is_link_local
        if self.allows_private and is_private and not parsed.is_unspecified:
            return
        if not parsed.is_global or parsed.is_multicast:
            raise OutboundRefused("a private address")


def netloc(url: str) -> str:
    """Host and port of a URL, as hosts are compared."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or (80 if parts.scheme == 'http' else 443)}"


def get_json(url: str, *, hosts: Hosts, bearer: str | None = None) -> dict[str, Any]:
    """The JSON object at `url`. Raises OutboundRefused or OutboundFailed."""
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    return _json_of(_call("GET", url, hosts=hosts, headers=headers))


def post_form(
    url: str, form: Mapping[str, str], *, hosts: Hosts, headers: Mapping[str, str]
) -> dict[str, Any]:
    """The JSON object that answers a form. Raises OutboundRefused or OutboundFailed; Refusal when it says no."""
    headers = {**headers, "Content-Type": "application/x-www-form-urlencoded"}
    return _json_of(_call("POST", url, hosts=hosts, headers=headers, body=urlencode(form).encode()))


def _json_of(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise OutboundFailed("not JSON") from None
    if not isinstance(found, dict):
        raise OutboundFailed("not a JSON object")
    return found


def _call(
    method: str, url: str, *, hosts: Hosts, headers: Mapping[str, str], body: bytes | None = None
) -> bytes:
    hosts.check(url)
    opened: list[socket.socket] = []
    under_way: Future[bytes] = _threads().submit(_exchange, method, url, hosts, dict(headers), body, opened)
    try:
        return under_way.result(SECONDS)
    except TimeoutError:
        under_way.cancel()
        for connection in opened:  # the thread must not wait on for what comes byte by byte
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        raise OutboundFailed("no answer in time") from None


def _exchange(
    method: str,
    url: str,
    hosts: Hosts,
    headers: dict[str, str],
    body: bytes | None,
    opened: list[socket.socket],
) -> bytes:
    parts = urlsplit(url)
    target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    try:
        connection = _connect(url, hosts)
        try:
            opened.append(connection.sock)
            told = {"Accept": "application/json", "Accept-Encoding": "identity", "Connection": "close"}
            connection.request(method, target, body=body, headers={**told, **headers})
            with connection.getresponse() as response:
                received = response.read(MOST_BYTES + 1)
        finally:
            connection.close()
    except (OSError, http.client.HTTPException) as error:
        raise OutboundFailed(type(error).__name__) from None
    if len(received) > MOST_BYTES:
        raise OutboundFailed("too large")
    if response.status != 200:
        raise Refusal(response.status, received)
    return received


def _connect(url: str, hosts: Hosts) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for address in addresses:
        hosts.check_address(address)
    made = _first_that_answers(addresses, port)
    if parts.scheme == "http":
        plain = http.client.HTTPConnection(host, port, timeout=SECONDS)
        plain.sock = made
        return plain
    secure = http.client.HTTPSConnection(host, port, timeout=SECONDS)
    try:
        secure.sock = _tls().wrap_socket(made, server_hostname=host)
    except BaseException:
        made.close()
        raise
    return secure


def _first_that_answers(addresses: list[str], port: int) -> socket.socket:
    failure: OSError = OSError("no address")
    for address in addresses:
        try:
            return socket.create_connection((address, port), timeout=SECONDS / len(addresses))
        except OSError as error:
            failure = error
    raise failure


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    # Made at the first call, after gunicorn has forked: threads do not survive that.
    return ThreadPoolExecutor(MOST_CALLS, thread_name_prefix="outbound")
