"""Dead connections, told before they are used, without asking the server."""

import select
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import DisconnectionError


def watch_connections(engine: Engine) -> None:
    """Look at the socket of a pooled connection as it is taken out.

    An idle connection has nothing to read; if its socket is readable the server has hung up (or said why it will), and
    the pool replaces it. A ping would cost a round trip for each request to learn the same (ADR-005).
    """
    event.listen(engine, "checkout", _refuse_dead)


def _refuse_dead(connection: Any, record: Any, proxy: Any) -> None:
    del record, proxy
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        raise DisconnectionError("the server has closed this connection")
