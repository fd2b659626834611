"""By which names a machine is reached: the site's address, and what development answers to."""

NAMES_OF_ADDRESSES = {"127.0.0.1": "localhost", "0.0.0.0": "localhost", "::": "::1"}  # noqa: S104 - replaced
#: Who listens on these listens on every address of the machine.
EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - only compared
EVERY_ADDRESS = ("0.0.0.0/0", "::/0")
OWN_NAMES = ("localhost", ".localhost", "127.0.0.0/8", "::1")


def url_of(host: str, port: int) -> str:
    """The http address of what listens there. This machine by its name: passkeys want one."""
    host = NAMES_OF_ADDRESSES.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def names_in_development(host: str) -> tuple[str, ...]:
    """Names, addresses and networks that a developer's server on `host` answers to.

    No name that anybody can have resolved to this machine, or a page of theirs could read every mail (DNS rebinding).
    An address can't be: so where the server listens on all of them, all are answered.
    """
    return (*OWN_NAMES, *(EVERY_ADDRESS if host in EVERYWHERE else (host,)))
