"""People who read and write all the time, and a ledger of what they were promised."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from tests.integration.faults.servers import Answer, Postgres, Site


class Crowd:
    """Each member renames himself and reads himself, over and over, on connections of his own.

    `acknowledged` holds each name that the site said it had written; afterwards the audit log must hold each of them,
    once. `asked` notes what became of each request: "read 200", "write 503", "read lost" (no whole answer).
    """

    def __init__(self, site: Site, tokens: list[str], *, pause_seconds: float = 0.02) -> None:
        self.asked: Counter[str] = Counter()
        self.acknowledged: list[str] = []
        self.slowest = 0.0
        self.refusals: list[Answer] = []
        self._site, self._tokens, self._pause = site, tokens, pause_seconds
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._run = uuid4().hex[:8]
        self._numbers = itertools.count()

    @contextmanager
    def busy(self) -> Iterator["Crowd"]:
        """They are at it for the block."""
        threads = [threading.Thread(target=self._live, args=(token,)) for token in self._tokens]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            for thread in threads:
                thread.join(30)
            assert not any(thread.is_alive() for thread in threads)

    def lost_writes(self, postgres: Postgres) -> list[str]:
        """What was acknowledged and is not there, or there more than once."""
        written = Counter(
            name
            for (name,) in postgres.ask(
                "SELECT details->'after'->>'name' FROM audit_events WHERE action = 'account:update'"
            )
        )
        return [name for name in self.acknowledged if written[name] != 1]

    def check_refusals(self) -> None:
        """Every refusal said when to come back."""
        assert all("retry-after" in answer.headers for answer in self.refusals)

    def statuses(self) -> set[str]:
        """The statuses that were seen, and "lost"."""
        return {kind.split()[1] for kind in self.asked}

    def _live(self, token: str) -> None:
        while not self._ended.is_set():
            name = f"Name {self._run} {next(self._numbers)}"
            if self._ask("write", "PATCH", token, {"name": name}) == 200:
                with self._lock:
                    self.acknowledged.append(name)
            self._ask("read", "GET", token)
            time.sleep(self._pause)

    def _ask(self, kind: str, method: str, token: str, body: dict[str, str] | None = None) -> int:
        began = time.monotonic()
        try:
            answer = self._site.ask(method, "/api/v1/users/me", body, token=token)
        except OSError:
            answer = None
        with self._lock:
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.asked[f"{kind} {answer.status if answer else 'lost'}"] += 1
            if answer and answer.status == 503:
                self.refusals.append(answer)
        return answer.status if answer else 0


class Watchman:
    """Asks /health all the time, and remembers how long the longest answer took and what was not 200."""

    def __init__(self, site: Site) -> None:
        self.slowest = 0.0
        self.took: list[float] = []
        self.wrong: list[object] = []
        self._site = site
        self._ended = threading.Event()

    @contextmanager
    def watching(self) -> Iterator["Watchman"]:
        """For the block."""
        thread = threading.Thread(target=self._watch)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join(30)

    @property
    def usual(self) -> float:
        """The median, in seconds: single answers may be late on a busy machine."""
        return sorted(self.took)[len(self.took) // 2]

    def _watch(self) -> None:
        while not self._ended.wait(0.05):
            try:
                answer = self._site.ask("GET", "/health", seconds=5)
            except OSError as error:
                self.wrong.append(error)
                continue
            self.took.append(answer.seconds)
            if answer.status != 200:
                self.wrong.append(answer)
