"""What strangers can make nginx hold: so many connections of one address, so many bytes of bodies in files."""

import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.deploy.asking import NAMED, ask, ask_raw
from tests.integration.deploy.servers import NGINX, Gunicorn, Nginx, until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.skipif(not Path(NGINX).exists(), reason="nginx is not installed"),
]

MIB = 1024 * 1024
#: An operator's own file, as behind a load balancer: here the tests say which address they come from.
BEHIND_A_BALANCER = "set_real_ip_from 127.0.0.1; real_ip_header X-Test-Address;"
PICTURE = b"POST /api/v1/users/me/picture HTTP/1.1\r\n" + NAMED + b"Content-Type: image/png\r\n"
SIZE = 6 * MIB


@pytest.fixture(scope="module")
def nginx(server: Gunicorn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    folder = tmp_path_factory.mktemp("bounded")
    started = Nginx(folder, f"127.0.0.1:{server.port}", more=BEHIND_A_BALANCER)
    yield started
    started.stop()


@pytest.fixture
def held() -> Iterator[list[socket.socket]]:
    """Connections that a test leaves open. Each test has addresses of its own, since nginx closes in its own time."""
    connections: list[socket.socket] = []
    yield connections
    for connection in connections:
        connection.close()


def bytes_in_files(nginx: Nginx) -> int:
    """Of the files that nginx writes bodies and answers to; it removes their names at once."""
    total = 0
    for pid in nginx.workers():
        for link in Path(f"/proc/{pid}/fd").iterdir():
            try:
                found = link.stat()
            except FileNotFoundError:
                continue
            if stat.S_ISREG(found.st_mode) and found.st_nlink == 0:
                total += found.st_size
    return total


def begin(
    nginx: Nginx, address: str, *, head: bytes = PICTURE, framing: bytes = b"", body: bytes = b""
) -> socket.socket:
    """Begin a large body and leave it unfinished."""
    framing = framing or b"Content-Length: %d\r\n" % SIZE
    connection = nginx.connect()
    connection.sendall(head + b"X-Test-Address: " + address.encode() + b"\r\n" + framing + b"\r\n")
    connection.setblocking(False)
    if body and not refused(connection):
        connection.settimeout(20)
        try:
            connection.sendall(body)
        except OSError:  # refused meanwhile
            return connection
        connection.setblocking(False)
    return connection


def refused(connection: socket.socket) -> bool:
    """Whether an answer came, which for a body that is not whole is a refusal."""
    connection.settimeout(0.2)
    try:
        answer = connection.recv(4096)
    except TimeoutError:
        return False
    assert answer.startswith(b"HTTP/1.1 429 "), answer
    return True


def test_uploads_of_one_stranger_stay_few(nginx: Nginx, held: list[socket.socket]) -> None:
    body = b"x" * (SIZE - 1)
    held += [begin(nginx, "203.0.113.9", body=body) for _ in range(20)]
    until(lambda: bytes_in_files(nginx) > 3 * SIZE, seconds=10, what="bodies are written")
    assert bytes_in_files(nginx) <= 4 * SIZE
    assert ask(nginx, "/health").status == 200


def test_uploads_of_many_strangers_stay_within_the_bound_and_others_are_answered(
    nginx: Nginx, held: list[socket.socket]
) -> None:
    body = b"x" * (SIZE - 1)
    held += [begin(nginx, f"203.0.{n}.9", body=body) for n in range(30)]
    until(lambda: bytes_in_files(nginx) > 15 * SIZE, seconds=20, what="bodies are written")
    assert bytes_in_files(nginx) <= 16 * SIZE
    assert ask(nginx, "/echo", method="POST", body=b"email=a&password=b").status == 200
    assert ask(nginx, "/health").status == 200
    held.append(begin(nginx, "198.51.100.1"))
    assert refused(held[-1])


def test_refused_upload_is_told_when_to_come_back(nginx: Nginx, held: list[socket.socket]) -> None:
    held += [begin(nginx, "203.0.113.20") for _ in range(4)]
    assert not any(refused(connection) for connection in held)
    request = PICTURE + b"X-Test-Address: 203.0.113.20\r\nContent-Length: 50000\r\n\r\n"
    answer = ask_raw(nginx.connect(), request)
    assert (answer.status, answer.headers["retry-after"]) == (429, "10")
    assert b'"code":"RATE_LIMITED"' in answer.body


@pytest.mark.parametrize(
    "framing",
    [b"Transfer-Encoding: chunked\r\n", b"Content-Length: 30000\r\n", b"Content-Length: 000100000\r\n"],
)
def test_large_bodies_are_counted_however_they_are_framed(
    nginx: Nginx, held: list[socket.socket], framing: bytes
) -> None:
    address = f"203.0.113.{len(framing)}"
    for path in (b"/echo", b"/auth/login"):
        head = b"POST " + path + b" HTTP/1.1\r\n" + NAMED
        held += [begin(nginx, address, head=head, framing=framing) for _ in range(2)]
    assert not any(refused(connection) for connection in held)
    one_more = begin(nginx, address, framing=framing)
    held.append(one_more)
    assert refused(one_more)


def test_small_bodies_are_not_counted_among_the_large(nginx: Nginx, held: list[socket.socket]) -> None:
    held += [begin(nginx, "203.0.113.21", framing=b"Content-Length: 29999\r\n") for _ in range(8)]
    assert not any(refused(connection) for connection in held)
    assert bytes_in_files(nginx) == 0


def test_body_beyond_a_mebibyte_is_for_pictures_alone(nginx: Nginx) -> None:
    for path in ("/echo", "/api/echo", "/account/picture/", "/api/v1/users/me"):
        answer = ask(nginx, path, method="POST", headers={"Content-Length": str(MIB + 1)})
        assert answer.status == 413


#: Ways to write addresses of one client, and a neighbour who is another one.
CLIENTS = {
    "a network": (
        ["2001:db8:1:2::1", "2001:DB8:1:2:ffff::", "2001:0db8:0001:0002:0:0:0:5", "2001:db8:1:2:3:4:5:6"],
        "2001:db8:1:3::1",
    ),
    "zeros in front of the host": (
        ["2001:db8::1", "2001:db8:0:0:1::", "2001:db8::2:3:4:5", "2001:DB8:0:0:0:0:0:9"],
        "2001:db8:0:1::1",
    ),
    "zeros within the network": (
        ["2001::1:2:3:4:5", "2001:0:0:1::", "2001:0:0:1:ffff:ffff:ffff:ffff", "2001::1:0:0:0:7"],
        "2001::1:2:3:4",
    ),
    "bytes that are line feeds": (
        [
            "2001:a0a:a0a:a0a::1",
            "2001:a0a:a0a:a0a:a0a:a0a:a0a:a0a",
            "2001:a0a:a0a:a0a:0:a::",
            "2001:a0a:a0a:a0a:d0a::",
        ],
        "2001:a0a:a0a:d0a::1",
    ),
    "IPv4 in IPv6": (
        ["203.0.113.7", "::ffff:203.0.113.7", "::FFFF:cb00:7107", "0:0:0:0:0:ffff:203.0.113.7"],
        "::ffff:203.0.113.8",
    ),
}


@pytest.mark.parametrize("case", CLIENTS)
def test_addresses_of_one_client_count_together(nginx: Nginx, held: list[socket.socket], case: str) -> None:
    """An IPv6 network of 64 bits is one client, as it is to the app's limits."""
    same, neighbour = CLIENTS[case]
    held += [begin(nginx, address) for address in same]
    assert not any(refused(connection) for connection in held)
    for address in same:
        one_more = begin(nginx, address)
        held.append(one_more)
        assert refused(one_more), address
    another = begin(nginx, neighbour)
    held.append(another)
    assert not refused(another)
