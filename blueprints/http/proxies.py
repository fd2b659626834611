"""Where a request comes from: the caller's address and scheme, past the proxies that are ours.

X-Forwarded-For and X-Forwarded-Proto are read; `Forwarded` (RFC 7239), X-Real-IP and their like are not: each further
header is one more that a proxy may forget to overwrite.
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from services.addresses import Address, plain_address, plain_network

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

#: An address as proxies write it: some add the caller's port, and IPv6 then stands in brackets.
WITH_PORT = re.compile(r"(?:\[(?P<six>[^\[\]]+)\]|(?P<four>[0-9.]+))(?::[0-9]{1,5})?", re.ASCII)


class Proxies:
    """The proxies that are believed, as networks."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = [plain_network(network) for network in networks]

    def find_caller(self, environ: "WSGIEnvironment") -> None:
        """Bring REMOTE_ADDR to its plain form; where that is a proxy of ours, put the caller's and its scheme there.

        What is no address, such as the empty one of a socket in the file system, stays as the server gave it.
        """
        peer = _read(environ.get("REMOTE_ADDR", ""))
        if peer is None:
            return
        environ["REMOTE_ADDR"] = str(peer)
        if not self._are_ours(peer):
            return
        caller, distance = self._walk(_elements(environ.get("HTTP_X_FORWARDED_FOR", "")))
        if caller is not None:
            environ["REMOTE_ADDR"] = str(caller)
        schemes = _elements(environ.get("HTTP_X_FORWARDED_PROTO", ""))
        if schemes:
            said = schemes[min(distance, len(schemes) - 1)].lower()
            environ["wsgi.url_scheme"] = "https" if said == "https" else "http"

    def _walk(self, hops: list[str]) -> tuple[Address | None, int]:
        """The caller, and how many hops of our own proxies stand behind it.

        The peer wrote the last hop, and each hop that is one of ours wrote the one before it. What stands before the
        first stranger may be the stranger's invention. A hop that can't be read ends the walk as well: the caller is
        somewhere behind the last proxy that could, and that one is named.
        """
        nearest = None
        for distance, hop in enumerate(hops):
            address = _read(hop)
            if address is None:
                return nearest, distance
            nearest = address
            if not self._are_ours(address):
                return nearest, distance
        return nearest, max(0, len(hops) - 1)

    def _are_ours(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def _elements(header: str) -> list[str]:
    """What a list holds, last first; quotes taken off, empty elements left out (RFC 9110 §5.6.1)."""
    elements = (element.strip().strip('"').strip() for element in reversed(header.split(",")))
    return [element for element in elements if element]


def _read(hop: str) -> Address | None:
    found = WITH_PORT.fullmatch(hop)
    try:
        return plain_address(found["six"] or found["four"] if found else hop)
    except ValueError:
        return None
