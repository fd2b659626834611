"""Servers on this machine that hang, drip and lie, in the place of a bucket."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Behaviour = Callable[[socket.socket], None]


class Peer:
    """A listening socket; what comes in is treated by `behave`, each connection in a thread of its own."""

    def __init__(self, behave: Behaviour) -> None:
        self.behave = behave
        self.connections = 0
        self._opened: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=50)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """End it, and every connection with it."""
        for opened in (self._listener, *self._opened):
            with suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
            opened.close()

    def open_connections(self) -> int:
        """How many clients have not hung up."""
        return sum(_is_open(opened) for opened in self._opened)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._opened.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError):
            self.behave(connection)


@contextmanager
def peer(behave: Behaviour) -> Iterator[Peer]:
    """Such a server, for the block."""
    made = Peer(behave)
    try:
        yield made
    finally:
        made.close()


def says_nothing(connection: socket.socket) -> None:
    """Takes the request, and never answers."""
    while connection.recv(65536):
        pass


def drips(beginning: bytes) -> Behaviour:
    """Answers byte by byte, each well within the time-out of a socket, without end."""

    def behave(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(beginning)
        while True:
            connection.sendall(b"x")
            time.sleep(0.1)

    return behave


def answers(status: str, *headers: str, body: bytes = b"") -> Behaviour:
    """Gives everybody the same answer."""
    told = "\r\n".join((f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "Connection: close"))

    def behave(connection: socket.socket) -> None:
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(65536)
        if b"100-continue" in received:
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            connection.recv(65536)
        connection.sendall(told.encode() + b"\r\n\r\n" + (b"" if received.startswith(b"HEAD") else body))
        connection.shutdown(socket.SHUT_WR)
        says_nothing(connection)

    return behave


def sends(raw: bytes) -> Behaviour:
    """Sends these bytes and hangs up."""

    def behave(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(raw)
        connection.close()

    return behave


def _is_open(connection: socket.socket) -> bool:
    try:
        connection.setblocking(False)
        return connection.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except OSError:
        return False
