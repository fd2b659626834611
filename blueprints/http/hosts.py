"""The names that the site answers to, whatever else resolves to its address (ASVS 4.1.3; DNS rebinding).

Flask has a check of its own, under the very key TRUSTED_HOSTS: it knows no probes, takes capitals for another name, and
refuses before anything can be answered. It stays switched off (app.py).
"""

import re
from collections.abc import Iterable

from services.addresses import plain_address, plain_network

#: A name of DNS or an address, and perhaps a port; a Host that is neither is nobody's (RFC 9110 §7.2, RFC 1123 §2.1).
HOST = re.compile(
    r"""(?P<name>
        (?=[^:]{1,254}(?::|$)) (?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)* [a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])? \.?
        | \[ (?P<address>[0-9a-f:.]{2,45}) \]
    ) (?: :(?P<port>(?:[1-9][0-9]{0,4})?) )?""",
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)
LAST_PORT = 65535
LAST_OF_ADDRESS = frozenset("0123456789abcdefABCDEF:")


class Hosts:
    """Names, addresses and networks; `.example.com` stands for all below it, `*` for everything."""

    def __init__(self, patterns: Iterable[str]) -> None:
        wanted = {pattern.lower() for pattern in patterns}
        self._takes_all = "*" in wanted
        self._networks = [plain_network(pattern) for pattern in wanted if "/" in pattern]
        self._domains = tuple(pattern for pattern in wanted if pattern.startswith("."))
        self._names = {_plain(pattern) for pattern in wanted}
        self._headers = {name for name in self._names if HOST.fullmatch(name)}

    def read(self, header: str) -> str | None:
        """The Host header as it can be used further on; None when it is not one of ours."""
        if header in self._headers:
            return header
        found = HOST.fullmatch(header)
        if found is None or int(found["port"] or 0) > LAST_PORT:
            return None
        name = found["address"] or found["name"].lower().removesuffix(".")
        return header.removesuffix(":") if self._are_ours(name) else None

    def _are_ours(self, name: str) -> bool:
        if self._takes_all or name in self._names or name.endswith(self._domains):
            return True
        return name[-1] in LAST_OF_ADDRESS and self._is_our_address(name)

    def _is_our_address(self, name: str) -> bool:
        try:
            address = plain_address(name)
        except ValueError:
            return False
        return str(address) in self._names or any(address in network for network in self._networks)


def _plain(pattern: str) -> str:
    try:
        return str(plain_address(pattern))
    except ValueError:
        return pattern
