"""Two instances behind nginx, replaced one after the other while people read and write."""

import asyncio
import itertools
import shutil
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.deploy.clients import Clients, load
from tests.integration.deploy.servers import HOST, NGINX, Gunicorn, Nginx, free_port

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.timeout(120),
    pytest.mark.skipif(not Path(NGINX).exists(), reason="nginx is not installed"),
]

HERE = Path(__file__).parent


class Pair:
    """Two instances of the echo app on fixed ports, which write into one ledger."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = folder / "ledger"
        self.ledger.touch()
        shutil.copy(HERE / "echo.py", folder / "echo.py")
        self.ports = (free_port(), free_port())
        self.instances = [self._start(port) for port in self.ports]

    def _start(self, port: int) -> Gunicorn:
        return Gunicorn(self.folder, "echo", self.folder / "log", port=port, LEDGER=str(self.ledger))

    def replace(self, number: int) -> int:
        """Stop one instance and start another in its place; returns the exit code of the former."""
        code = self.instances[number].stop()
        self.instances[number] = self._start(self.ports[number])
        return code

    def written(self) -> Counter[str]:
        """How often each write reached an instance."""
        return Counter(self.ledger.read_text().split())


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path)
    yield made
    for instance in made.instances:
        instance.kill()


@pytest.fixture
def nginx(pair: Pair, tmp_path: Path) -> Iterator[Nginx]:
    one, two = (f"127.0.0.1:{port}" for port in pair.ports)
    (tmp_path / "nginx").mkdir()
    started = Nginx(tmp_path / "nginx", f"{one} max_fails=0; server {two}")
    yield started
    started.stop()


def reads_and_writes() -> Iterator[bytes]:
    """Four reads to a write, each write with a name of its own."""
    read = f"GET /slow HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
    for number in itertools.count():
        yield from (read, read, read, read)
        yield f"POST /write/w{number} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 0\r\n\r\n".encode()


def test_rolling_restart_loses_and_repeats_nothing(pair: Pair, nginx: Nginx) -> None:
    codes: list[int] = []

    async def roll() -> None:
        for number in (0, 1, 0, 1):
            await asyncio.sleep(1)
            codes.append(await asyncio.to_thread(pair.replace, number))

    clients = load(
        Clients(nginx.https_port, reads_and_writes(), count=40, tls=(nginx.trust(), HOST), stays=True), roll
    )
    assert set(clients.outcomes) == {"200"}, (clients.outcomes, clients.reasons)
    assert clients.outcomes["200"] > 1000
    assert codes == [0, 0, 0, 0]
    assert set(pair.written().values()) == {1}


def test_upgrade_in_place_loses_and_repeats_nothing(pair: Pair, nginx: Nginx) -> None:
    async def upgrade() -> None:
        await asyncio.sleep(1)
        for instance in pair.instances:
            instance.tell(signal.SIGUSR2)
            await asyncio.to_thread(instance.process.wait, 30)

    clients = load(
        Clients(nginx.https_port, reads_and_writes(), count=40, tls=(nginx.trust(), HOST), stays=True),
        upgrade,
    )
    assert set(clients.outcomes) == {"200"}, (clients.outcomes, clients.reasons)
    assert set(pair.written().values()) == {1}
