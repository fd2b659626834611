"""Where a call comes from: set by the HTTP room for each request, empty for commands and jobs."""

from contextvars import ContextVar
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Origin:
    """Address (text form), user agent, request id and device token of a call; None where there is none."""

    address: str | None = None
    user_agent: str | None = None
    request_id: str | None = None
    #: What the browser's device cookie holds, or will hold.
    device: str | None = None
    #: The administrator who calls, where he is signed in as somebody else.
    impersonator_id: int | None = None


_NOWHERE = Origin()
_origin: ContextVar[Origin] = ContextVar("origin", default=_NOWHERE)


def origin() -> Origin:
    """The origin of the call in progress."""
    return _origin.get()


def set_origin(address: str | None, user_agent: str | None, request_id: str | None) -> None:
    """Say where the call that begins comes from."""
    _origin.set(Origin(address, user_agent, request_id))


def set_device(token: str) -> None:
    """Say which browser the call in progress comes from."""
    _origin.set(replace(_origin.get(), device=token))


def set_impersonator(user_id: int | None) -> None:
    """Say which administrator calls, signed in as somebody else; None where people are themselves."""
    _origin.set(replace(_origin.get(), impersonator_id=user_id))
