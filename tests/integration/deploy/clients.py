"""Many clients at once, who ask until they are told to stop, and remember what became of each request."""

import asyncio
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from typing import Self


class Clients:
    """Clients of one address, every other one keeping its connection.

    `outcomes` counts statuses ("200"), "refused" (nobody listened, so nothing was sent) and "lost" (a request was
    sent, or a connection accepted, and no whole answer came).
    """

    def __init__(
        self,
        port: int,
        requests: Iterator[bytes],
        *,
        count: int = 100,
        tls: tuple[ssl.SSLContext, str] | None = None,
        stays: bool = False,
    ) -> None:
        self.outcomes: Counter[str] = Counter()
        self.reasons: list[str] = []
        self._port, self._requests, self._tls = port, requests, tls
        self._stays = stays  # whether a refused client tries again
        self._count = count
        self._ended = False

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._ask(keeps=n % 2 == 0)) for n in range(self._count)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ended = True
        await asyncio.wait_for(asyncio.gather(*self._tasks), timeout=40)

    async def _ask(self, *, keeps: bool) -> None:
        streams = None
        while not self._ended:
            try:
                streams = streams or await self._connect()
            except ConnectionRefusedError:
                self.outcomes["refused"] += 1
                if not self._stays:
                    return
                await asyncio.sleep(0.02)
                continue
            request = next(self._requests, None)
            if request is None:
                break
            stays_open = await self._exchange(*streams, request, keeps=keeps)
            if not stays_open:
                streams[1].close()
                streams = None
        if streams:
            streams[1].close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context, name = self._tls or (None, None)
        return await asyncio.open_connection("127.0.0.1", self._port, ssl=context, server_hostname=name)

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes, *, keeps: bool
    ) -> bool:
        try:
            writer.write(request if keeps else request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
        except (OSError, EOFError) as error:
            self.outcomes["lost"] += 1
            self.reasons.append(repr(error))
            return False
        self.outcomes[head.split(b" ")[1].decode()] += 1
        return keeps and b"connection: close" not in head


def load(clients: Clients, during: Callable[[], Awaitable[None]]) -> Clients:
    """Let the clients ask while `during` runs; returns them when all have ended."""

    async def run() -> None:
        async with clients:
            await during()

    asyncio.run(run())
    return clients
