"""Whose address and scheme a request is taken to have, for every way in which proxies write them."""

import pytest

from blueprints.http.proxies import Proxies

pytestmark = pytest.mark.unit

OURS = ("127.0.0.1", "10.0.0.0/8", "2001:db8:5::/48")


def found(peer: str, *ours: str, scheme: str = "http", **headers: str) -> tuple[str, str]:
    """Address and scheme of a request from `peer`; headers as `x_forwarded_for`."""
    environ = {"REMOTE_ADDR": peer, "wsgi.url_scheme": scheme}
    environ |= {f"HTTP_{name.upper()}": value for name, value in headers.items()}
    Proxies(ours or OURS).find_caller(environ)
    return environ["REMOTE_ADDR"], environ["wsgi.url_scheme"]


@pytest.mark.parametrize(
    ("sent", "address"),
    [
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("::ffff:cb00:7107", "203.0.113.7"),
        ("0:0:0:0:0:FFFF:203.0.113.7", "203.0.113.7"),
        ("2001:DB8:0::9", "2001:db8::9"),
        ("fe80::1%eth0", "fe80::1"),
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7:50123", "203.0.113.7"),
        ("64:ff9b::cb00:7107", "64:ff9b::cb00:7107"),
        ("2002:cb00:7107::1", "2002:cb00:7107::1"),
        ("", ""),
        ("unix:", "unix:"),
    ],
)
def test_the_peers_address_has_one_form(sent: str, address: str) -> None:
    assert found(sent)[0] == address


@pytest.mark.parametrize(
    ("peer", "ours"),
    [
        ("::ffff:127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "::ffff:127.0.0.1"),
        ("10.1.2.3", "::ffff:10.0.0.0/104"),
        ("::ffff:10.1.2.3", "10.0.0.0/8"),
        ("fe80::1%eth0", "fe80::1"),
        ("fe80::1", "fe80::%eth0/64"),
        ("fe80::1%eth1", "fe80::1%eth0"),
    ],
)
def test_a_proxy_is_known_in_every_form(peer: str, ours: str) -> None:
    told = found(peer, ours, x_forwarded_for="203.0.113.9", x_forwarded_proto="https")
    assert told == ("203.0.113.9", "https")


@pytest.mark.parametrize("peer", ["203.0.113.7", "::ffff:203.0.113.7", "2001:db8:6::1", "", "unix:"])
def test_a_stranger_is_not_believed(peer: str) -> None:
    _, scheme = found(peer, x_forwarded_for="198.51.100.1", x_forwarded_proto="https")
    assert scheme == "http"
    assert found(peer, x_forwarded_for="198.51.100.1")[0] in {peer, "203.0.113.7"}


@pytest.mark.parametrize(
    ("hop", "address"),
    [
        ("203.0.113.9:50123", "203.0.113.9"),
        ("[2001:db8::9]:443", "2001:db8::9"),
        ("[2001:db8::9]", "2001:db8::9"),
        ("2001:DB8::9", "2001:db8::9"),
        ('"[2001:db8::9]:443"', "2001:db8::9"),
        ('"203.0.113.9"', "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("[::ffff:203.0.113.9]:443", "203.0.113.9"),
        ("[fe80::9%eth0]:443", "fe80::9"),
        (" 203.0.113.9 ", "203.0.113.9"),
    ],
)
def test_a_hop_is_read_in_every_way_it_is_written(hop: str, address: str) -> None:
    assert found("127.0.0.1", x_forwarded_for=hop) == (address, "http")
    assert found("127.0.0.1", x_forwarded_for=f"6.6.6.6, {hop}, 10.0.0.2:8080")[0] == address


@pytest.mark.parametrize(
    ("hops", "address"),
    [
        ("6.6.6.6, 203.0.113.9", "203.0.113.9"),
        ("6.6.6.6, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("6.6.6.6, 10.0.0.9, 203.0.113.9, 10.0.0.2, 10.0.0.3", "203.0.113.9"),
        ("10.0.0.9, 10.0.0.2", "10.0.0.9"),
        (",203.0.113.9, ,10.0.0.2,", "203.0.113.9"),
        ("", "127.0.0.1"),
        (" , ,", "127.0.0.1"),
    ],
)
def test_the_caller_is_the_first_stranger_from_the_right(hops: str, address: str) -> None:
    assert found("127.0.0.1", x_forwarded_for=hops)[0] == address


@pytest.mark.parametrize(
    "garbage",
    ["unknown", "_hidden", "203.0.113.999", "203.0.113.9:port", "[2001:db8::9", "a" * 4000, "127.1", "٢٠٣.0.113.9"],
)  # fmt: skip
def test_a_hop_that_can_not_be_read_names_the_proxy_before_it(garbage: str) -> None:
    assert found("127.0.0.1", x_forwarded_for=f"6.6.6.6, {garbage}") == ("127.0.0.1", "http")
    told = found("127.0.0.1", x_forwarded_for=f"6.6.6.6, {garbage}, 10.0.0.2", x_forwarded_proto="https")
    assert told == ("10.0.0.2", "https")


@pytest.mark.parametrize(
    ("hops", "schemes", "scheme"),
    [
        # One proxy: its own word is the last one, whatever the caller sent before.
        ("203.0.113.9", "https", "https"),
        ("203.0.113.9", "HTTPS", "https"),
        ("203.0.113.9", '"https"', "https"),
        ("203.0.113.9", "https, http", "http"),
        ("203.0.113.9", "http, https", "https"),
        # Two that both add: the outer one's word is the caller's.
        ("203.0.113.9, 10.0.0.2", "https, http", "https"),
        ("203.0.113.9, 10.0.0.2", "https,http", "https"),
        ("203.0.113.9, 10.0.0.2", "http, https", "http"),
        ("203.0.113.9, 10.0.0.2", "https, http, http", "http"),
        ("6.6.6.6, 203.0.113.9, 10.0.0.2", "https, http, http", "http"),
        # Two, of which one adds or overwrites and the other passes on.
        ("203.0.113.9, 10.0.0.2", "https", "https"),
        ("203.0.113.9, 10.0.0.3, 10.0.0.2", "https, http", "https"),
        ("", "https", "https"),
        ("", "https, http", "http"),
        # What is no scheme is no promise of https.
        ("203.0.113.9", "wss", "http"),
        ("203.0.113.9", "https;q=1", "http"),
        ("203.0.113.9", "https http", "http"),
        ("203.0.113.9, 10.0.0.2", "on, https", "http"),
    ],
)
def test_the_scheme_is_that_of_the_callers_hop(hops: str, schemes: str, scheme: str) -> None:
    for by_itself in ("http", "https"):
        told = found("127.0.0.1", x_forwarded_for=hops, x_forwarded_proto=schemes, scheme=by_itself)
        assert told[1] == scheme


@pytest.mark.parametrize("schemes", ["", " , "])
def test_without_a_word_the_scheme_is_the_connections(schemes: str) -> None:
    told = found("127.0.0.1", x_forwarded_for="203.0.113.9", x_forwarded_proto=schemes, scheme="https")
    assert told == ("203.0.113.9", "https")


@pytest.mark.parametrize(
    "other",
    [
        {"forwarded": "for=203.0.113.9;proto=https"},
        {"x_real_ip": "203.0.113.9"},
        {"x_forwarded_ssl": "on"},
        {"x_forwarded_protocol": "https"},
    ],
)
def test_other_headers_are_not_read(other: dict[str, str]) -> None:
    assert found("127.0.0.1", **other) == ("127.0.0.1", "http")
