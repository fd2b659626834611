"""Addresses in the one form in which they are compared, counted, logged and shown.

A socket that listens for IPv6 tells IPv4 callers as `::ffff:203.0.113.9` (RFC 4291 §2.5.5.2): that is 203.0.113.9, and
all of IPv4 would else be one /64. A zone (`fe80::1%eth0`, RFC 4007 §11) names a card of this machine, not the caller.
Addresses that embed others for translators (6to4, Teredo, NAT64) stay as they are: those are networks of their own.
"""

import ipaddress
import re

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAPPED_BITS = 96
_ZONE = re.compile(r"%[^/]*")


def plain_address(text: str) -> Address:
    """The address that `text` means. Raises ValueError when it is none."""
    address = ipaddress.ip_address(_ZONE.sub("", text))
    return getattr(address, "ipv4_mapped", None) or address


def plain_network(text: str) -> Network:
    """The network that `text` means; an address is a network of one. Raises ValueError when it is none."""
    network = ipaddress.ip_network(_ZONE.sub("", text), strict=False)
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is None or network.prefixlen < MAPPED_BITS:
        return network
    return ipaddress.ip_network((mapped, network.prefixlen - MAPPED_BITS))
