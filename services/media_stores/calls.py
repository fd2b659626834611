"""Calls to a server that may hang: a few at once, each for so long and no longer, none while it is known to be away."""

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Protocol, TypeVar

from services.errors import NotFound, Unavailable
from services.media_stores import AWAY

Result = TypeVar("Result")

#: From the call to the last byte of the answer, names, retries and all.
SECONDS = 5.0
#: Under way at once in a process, so that a server that hangs can't bind every thread.
AT_ONCE = 2
#: While the server is well, others wait for their turn this long: pictures of a page come together.
TURN_SECONDS = 0.5
#: After a failure nobody asks for this long; then one caller finds out.
PAUSE_SECONDS = 3.0


class Connection(Protocol):
    """What a call goes over."""

    sock: Any


class Call:
    """One call: what it goes over, so that it can be cut off from another thread."""

    def __init__(self) -> None:
        self._connections: list[Connection] = []
        self._is_over = False

    def use(self, connection: Connection) -> None:
        """Note what the call goes over. Raises TimeoutError when nobody waits for it any more."""
        self._connections.append(connection)  # first, so that either this or `cut_off` sees the other
        if self._is_over:
            raise TimeoutError

    def cut_off(self) -> None:
        """End what waits on a socket; what does not yet ends when it is about to."""
        self._is_over = True
        for connection in self._connections:
            with suppress(OSError, AttributeError):  # closed, or not even connected
                connection.sock.shutdown(socket.SHUT_RDWR)


class Calls:
    """All calls of this process to one server."""

    def __init__(self) -> None:
        # Its threads begin with the first call, after gunicorn has forked.
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="media")
        self._turns = threading.BoundedSemaphore(AT_ONCE)
        self._lock = threading.Lock()
        #: None while the server is well; else from when on somebody may ask.
        self._asks_at: float | None = None
        self._here = threading.local()

    @property
    def current(self) -> Call:
        """The call of this thread; one that nobody cuts off where there is none."""
        call: Call = getattr(self._here, "call", None) or Call()
        return call

    def run(self, act: Callable[[], Result]) -> Result:
        """What `act` returns or raises. Raises TimeoutError when it takes too long, Unavailable when it can't begin."""
        self._take_turn(patience=TURN_SECONDS if self._may_ask() else 0)
        call = Call()
        under_way = self._threads.submit(self._run, call, act)
        under_way.add_done_callback(self._give_back)
        answered = False
        try:
            result = under_way.result(SECONDS)
            answered = True
        except NotFound:
            answered = True
            raise
        except TimeoutError:
            call.cut_off()
            raise
        finally:
            self._note(is_well=answered)
        return result

    def _take_turn(self, *, patience: float) -> None:
        """Raises Unavailable when the calls under way do not end; nobody else waits for them then."""
        if not self._turns.acquire(timeout=patience):
            self._note(is_well=False)
            raise Unavailable(AWAY)

    def _run(self, call: Call, act: Callable[[], Result]) -> Result:
        self._here.call = call
        return act()

    def _give_back(self, done: Future[Any]) -> None:
        del done
        self._turns.release()

    def _may_ask(self) -> bool:
        """Whether the server is well. Raises Unavailable when it is away, unless it is this caller who finds out."""
        with self._lock:
            if self._asks_at is None:
                return True
            moment = time.monotonic()
            if moment < self._asks_at:
                raise Unavailable(AWAY)
            self._asks_at = moment + SECONDS + PAUSE_SECONDS
            return False

    def _note(self, *, is_well: bool) -> None:
        with self._lock:
            self._asks_at = None if is_well else time.monotonic() + PAUSE_SECONDS
