"""Settings of the issuer: all of it or none, https, no private address by accident (security case A89)."""

from typing import Any

import pytest

from config import ProductionConfig, TestingConfig
from services.outbound import Hosts, OutboundRefused
from services.settings.oidc import issuer_of

pytestmark = pytest.mark.unit
CLIENT = {"CLIENT_ID": "portico", "CLIENT_SECRET": "x" * 20}


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"AUTH0_DOMAIN": "a.auth0.com"}, "CLIENT_ID"),
        ({"AUTH0_DOMAIN": "a.auth0.com", "CLIENT_ID": "portico"}, "CLIENT_SECRET"),
        ({"CLIENT_ID": "portico"}, "CLIENT_ID"),
        ({"OIDC_AUDIENCE": "https://api"}, "OIDC_AUDIENCE"),
        ({**CLIENT, "AUTH0_DOMAIN": "a.auth0.com", "OIDC_ISSUER": "https://b.example"}, "OIDC_ISSUER"),
        ({**CLIENT, "AUTH0_DOMAIN": "https://a.auth0.com"}, "AUTH0_DOMAIN"),
        ({**CLIENT, "OIDC_ISSUER": "http://login.example.com"}, "OIDC_ISSUER"),
        ({**CLIENT, "OIDC_ISSUER": "https://10.0.0.7/realms/main"}, "OIDC_ISSUER"),
        ({**CLIENT, "OIDC_ISSUER": "https://user@login.example.com"}, "OIDC_ISSUER"),
        ({**CLIENT, "OIDC_ISSUER": "https://login.example.com", "OIDC_AUDIENCE": "portico"}, "OIDC_AUDIENCE"),
    ],
)
def test_a_wrong_issuer_is_refused_at_start(settings: dict[str, Any], fault: str) -> None:
    _, faults = TestingConfig.draft(**settings)
    assert fault in faults


def test_this_machine_is_no_issuer_in_production() -> None:
    for url in ("http://localhost:8080", "https://127.0.0.1"):
        assert "OIDC_ISSUER" in ProductionConfig.draft(OIDC_ISSUER=url, **CLIENT)[1]
        assert "OIDC_ISSUER" not in TestingConfig.draft(OIDC_ISSUER=url, **CLIENT)[1]


def test_the_issuer_of_auth0_ends_in_a_slash() -> None:
    settings, faults = TestingConfig.draft(AUTH0_DOMAIN="a.eu.auth0.com", **CLIENT)
    assert not faults
    assert issuer_of(settings) == "https://a.eu.auth0.com/"


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "fe80::1%eth0",
     "fd00::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "224.0.0.1"],
)  # fmt: skip
def test_private_addresses_are_not_called(address: str) -> None:
    with pytest.raises(OutboundRefused):
        Hosts(frozenset()).check_address(address)
    if address in {"127.0.0.1", "169.254.169.254", "0.0.0.0", "::1"}:
        with pytest.raises(OutboundRefused):
            Hosts(frozenset(), allows_private=True).check_address(address)


def test_public_addresses_are_called_and_private_ones_where_meant() -> None:
    Hosts(frozenset()).check_address("93.184.216.34")
    Hosts(frozenset(), allows_private=True).check_address("10.0.0.1")
    Hosts(frozenset(), allows_local=True).check_address("127.0.0.1")
