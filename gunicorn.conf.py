"""gunicorn, sized from the machine and from variables: `gunicorn app:application` reads this file.

| variable | default | |
|---|---|---|
| GUNICORN_BIND | FLASK_HOST:PORT | address, or `unix:/run/portico/web.sock` |
| GUNICORN_WORKERS, GUNICORN_THREADS | cores, 4 | processes, threads in each |
| GUNICORN_DRAIN_SECONDS | 0 | after SIGTERM serve on this long, `/health/ready` at 503, before stopping |
| TRUSTED_PROXIES | none | whose X-Forwarded-Proto is believed |
| LOG_LEVEL, LOG_FORMAT | INFO, json outside development | gunicorn's own lines; the app logs requests |

TERM, HUP and USR2 stop it, replace its workers, and replace its code: docs/deployment.md, "A release".
"""

import contextlib
import errno
import gc
import json
import logging
import math
import mmap
import os
import re
import resource
import selectors
import signal
import socket
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

# gunicorn carries no types of its own.
from gunicorn import systemd
from gunicorn.http import errors, wsgi
from gunicorn.workers.gthread import ThreadWorker

STOP_SECONDS = 30  # from SIGTERM to the end, draining included


def _number(name: str, default: int, least: int) -> int:
    value = os.environ.get(name, "").strip() or str(default)
    if not value.isdecimal() or int(value) < least:
        raise SystemExit(f"The configuration is not usable:\n  - {name}: must be a whole number from {least}")
    return int(value)


def _address() -> str:
    if given := os.environ.get("GUNICORN_BIND"):
        return given
    host = os.environ.get("FLASK_HOST") or "127.0.0.1"
    port = os.environ.get("PORT") or os.environ.get("FLASK_PORT") or "5000"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _cores(quota_file: str = "/sys/fs/cgroup/cpu.max") -> int:
    """Cores this process may use: a container's CPU limit counts, half a core is one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path(quota_file).read_text(encoding="ascii").split()
        return min(cores, max(1, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no such file, or "max": no limit
        return cores


def _open_files() -> int:
    """Raise the soft limit of open files to the hard one and return it: a connection is a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):  # forbidden here: live with what there is
        return soft
    return wanted


# ---- size --------------------------------------------------------------------------------------------------

bind = _address()
backlog = 2048
workers = _number("GUNICORN_WORKERS", _cores(), least=1)
threads = _number("GUNICORN_THREADS", 4, least=1)
worker_connections = max(threads + 8, min(2000, _open_files() - 64))
max_requests = 0

# One connection a thread, and no waiting for one. The app reads these; what the operator has set wins.
os.environ.setdefault("SQLALCHEMY_POOL_SIZE", str(threads))
os.environ.setdefault("SQLALCHEMY_MAX_OVERFLOW", "0")
os.environ.setdefault("SQLALCHEMY_POOL_TIMEOUT", "2")
# Password hashes at once are limited to the cores in all processes together, so each must know how many there are.
os.environ.setdefault("GUNICORN_WORKERS", str(workers))

# ---- time --------------------------------------------------------------------------------------------------

drain_seconds = _number("GUNICORN_DRAIN_SECONDS", 0, least=0)
timeout = 30
graceful_timeout = max(5, STOP_SECONDS - drain_seconds)
keepalive = 65  # above the proxy's 60: the side that sends the next request must be the one that closes

# ---- what a request may look like --------------------------------------------------------------------------

limit_request_line = 4094
limit_request_fields = 50
limit_request_field_size = 8190
forwarded_allow_ips = os.environ.get("TRUSTED_PROXIES", "")
secure_scheme_headers = {"X-FORWARDED-PROTO": "https"}
forwarder_headers = ""
header_map = "drop"
wsgi.SERVER = "web"  # the Server header can't be left out, so it says nothing

# ---- process -----------------------------------------------------------------------------------------------

preload_app = True
control_socket_disable = True
proc_name = "portico"
if os.access("/dev/shm", os.W_OK):  # noqa: S108 - the heartbeat file must be in memory: a busy disk stops the clock
    worker_tmp_dir = "/dev/shm"  # noqa: S108 - as above

# ---- logs --------------------------------------------------------------------------------------------------

environment = os.environ.get("FLASK_CONFIG") or os.environ.get("FLASK_ENV") or "development"
accesslog = None
loglevel = (os.environ.get("LOG_LEVEL") or "info").lower()


class JsonLines(logging.Formatter):
    """One JSON object a line, whatever a client managed to get into the message."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
            "process": record.process,
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


if (os.environ.get("LOG_FORMAT") or ("text" if environment == "development" else "json")) == "json":
    logconfig_dict = {
        "formatters": {"lines": {"()": JsonLines}},
        "handlers": {
            "lines": {"class": "logging.StreamHandler", "formatter": "lines", "stream": "ext://sys.stderr"}
        },
        "root": {"level": "WARNING", "handlers": []},
        "loggers": {
            "gunicorn.error": {"level": loglevel.upper(), "handlers": ["lines"], "propagate": False},
            "gunicorn.access": {"level": "INFO", "handlers": [], "propagate": False},
        },
    }


# ---- who gets a thread -------------------------------------------------------------------------------------

QUEUE_SECONDS = 2
REFUSAL = "refusal"
#: All of a probe's request, without a body, so that nobody can keep its thread waiting for the rest.
PROBE = re.compile(
    rb"(?:GET|HEAD) /health HTTP/1\.[01]\r\n(?:(?!content-length|transfer-encoding)[^\r\n]+\r\n)*\r\n",
    re.IGNORECASE,
)
NOTHING_LEFT = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
WRITES = (b"POST ", b"PUT ", b"PATCH ", b"DELETE ")
#: What can't be read is 400 but for these, and what else fails outside of the application is 500.
STATUS = {errors.LimitRequestLine: 414, errors.LimitRequestHeaders: 431, errors.ExpectationFailed: 417,
          errors.UnsupportedTransferCoding: 501, errors.ForbiddenProxyRequest: 403, errors.ConfigurationProblem: 500,
          errors.InvalidResponseHeader: 500, errors.InvalidResponseHeaderName: 500}  # fmt: skip

# ---- stopping ----------------------------------------------------------------------------------------------


class Draining(threading.Event):
    """An event that all processes forked after its making share; it is set once, and never cleared."""

    def __init__(self) -> None:
        super().__init__()
        self._shared = mmap.mmap(-1, 1)

    def set(self) -> None:
        """Tell every process."""
        self._shared[0] = 1

    def is_set(self) -> bool:
        """Whether any process has set it."""
        return self._shared[0] == 1


def _first_bytes(sock: Any) -> bytes | None:
    """What has come in and was not read yet, at most 2 KiB; empty when the client is gone, None when nothing came."""
    try:
        head: bytes = sock.recv(2048, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    except OSError:
        return b""
    return head


class ChunkedBody:
    """A request body sent in chunks; a wrong chunk is an OSError, which Werkzeug answers with 400, not a fault."""

    def __init__(self, body: Any) -> None:
        self._body = body

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, all that are left by default."""
        return self._read(self._body.read, size)

    def readline(self, size: int = -1) -> bytes:
        """The next line, or `size` bytes of it."""
        return self._read(self._body.readline, size)

    def readlines(self, hint: int = -1) -> list[bytes]:
        """The lines that are left."""
        del hint
        return list(self)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.readline, b"")

    def _read(self, how: Callable[[int], bytes], size: int) -> bytes:
        try:
            return how(size)
        except errors.ParseException as error:
            raise OSError(str(error)) from error


class Worker(ThreadWorker):  # type: ignore[misc] # gunicorn has no types
    """The threaded worker, except for who gets a thread, and that it leaves nobody in the queue when it stops.

    - `GET /health` has a thread of its own: the process is alive while all others wait for the database.
    - Whoever writes leaves one thread to those who read; it waits in line, and after QUEUE_SECONDS is refused (503).
    - Whoever connects and says nothing takes no thread at all.
    - gunicorn's own stops accepting and keeps the socket open until its last client is gone: who connects
      meanwhile waits, and is then cut off. This one takes in all who have come and closes at once.
    """

    def init_process(self) -> None:
        """As gunicorn's, with the further threads."""
        self.line: deque[tuple[float, Any]] = deque()
        self.writing: set[Any] = set()
        self.heads: weakref.WeakKeyDictionary[Any, bytes] = weakref.WeakKeyDictionary()  # by socket
        self.probes = ThreadPoolExecutor(1, thread_name_prefix="probe")
        self.refusals = ThreadPoolExecutor(1, thread_name_prefix=REFUSAL)
        super().init_process()

    def enqueue_req(self, conn: Any) -> None:
        """As gunicorn's, by what the request begins with, which is looked at and left on the socket."""
        head = _first_bytes(conn.sock)
        self.heads[conn.sock] = head or b""
        if head is None and not conn.initialized:
            self._wait_for_bytes(conn)
        elif head and PROBE.match(head):
            self._submit(self.probes, conn)
        elif head and head.startswith(WRITES):
            self.line.append((time.monotonic(), conn))
            self._advance_line()
        else:
            self._submit(self.tpool, conn)

    def accept(self, listener: Any) -> None:
        """As gunicorn's; without a file descriptor or memory left, who comes waits instead of the process ending."""
        try:
            super().accept(listener)
        except OSError as error:
            if error.errno not in NOTHING_LEFT:
                raise
            self.log.warning("No connection can be accepted: %s", error.strerror)
            time.sleep(0.1)

    def handle_error(self, _req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer in the application's manner. The log is not told what came: one-time tokens may be in it."""
        status = STATUS.get(type(exc), 400 if isinstance(exc, errors.ParseException) else 500)
        fault = exc if status == 500 else None
        level = logging.ERROR if fault else logging.WARNING
        self.log.log(level, "A request was answered with %d: %s", status, type(exc).__name__, exc_info=fault)
        with contextlib.suppress(OSError):
            client.sendall(self.refuse(status, self.heads.get(client, b""), addr[0] if addr else None))

    def finish_request(self, conn: Any, fs: Any) -> None:
        """As gunicorn's; the next in line takes the place."""
        self.writing.discard(conn)
        super().finish_request(conn, fs)
        self._advance_line()

    def murder_pending(self) -> None:
        """As gunicorn's, about once a second: refuse who has waited in line for too long."""
        super().murder_pending()
        while self.line and time.monotonic() - self.line[0][0] > QUEUE_SECONDS:
            self._submit(self.refusals, self.line.popleft()[1])

    def _advance_line(self) -> None:
        while self.line and len(self.writing) < max(1, self.cfg.threads - 1):
            since, conn = self.line.popleft()
            if time.monotonic() - since > QUEUE_SECONDS:
                self._submit(self.refusals, conn)
                continue
            self.writing.add(conn)
            self._submit(self.tpool, conn)

    def _submit(self, pool: ThreadPoolExecutor, conn: Any) -> None:
        future = pool.submit(self.handle, conn)
        future.add_done_callback(lambda done: self.method_queue.defer(self.finish_request, conn, done))

    def _wait_for_bytes(self, conn: Any) -> None:
        conn.timeout = time.monotonic() + self.cfg.keepalive
        self.pending_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def set_accept_enabled(self, enabled: bool) -> None:
        """As gunicorn's; when stopping, accept all who wait, then close the listening sockets."""
        if self.alive or enabled:
            super().set_accept_enabled(enabled)
            return
        super().set_accept_enabled(False)
        for listener in self.sockets:
            self._accept_all(listener)
            listener.close()

    def load_wsgi(self) -> None:
        """As gunicorn's; bodies in chunks are read through ChunkedBody."""
        super().load_wsgi()
        application = self.app.wsgi()
        self.refuse = application.extensions["refuse"]  # blueprints/http/refusals.py

        def guarded(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            if threading.current_thread().name.startswith(REFUSAL):
                environ["portico.overloaded"] = True
            if "HTTP_TRANSFER_ENCODING" in environ:
                environ["wsgi.input"] = ChunkedBody(environ["wsgi.input"])
            answer: Iterable[bytes] = application(environ, start_response)
            return answer

        self.wsgi: Any = guarded

    def _accept_all(self, listener: Any) -> None:
        before = -1
        while before < self.nr_conns < self.worker_connections:
            before = self.nr_conns
            self.accept(listener)

    def _cap_keepalive(self, deadline: float) -> None:
        # Connections on which nothing was ever sent must not hold up the end any longer than idle ones.
        super()._cap_keepalive(deadline)
        for connection in self.pending_conns:
            connection.timeout = min(connection.timeout, deadline)


worker_class = Worker


def when_ready(server: Any) -> None:
    """Once, in the master, app loaded and nothing forked: prepare the stop, then replace a former master."""
    gc.collect()
    gc.freeze()  # what exists now stays in pages that all workers share
    application = server.app.wsgi()
    draining = getattr(application, "extensions", {})["draining"] = Draining()
    stop = server.handle_term

    def drain_and_stop() -> None:
        if draining.is_set() or server.reexec_pid:  # told twice, or replaced: no reason to wait
            stop()
        draining.set()
        if not drain_seconds:
            stop()
        signal.signal(signal.SIGALRM, server.signal)
        signal.setitimer(signal.ITIMER_REAL, drain_seconds)

    def replace() -> None:
        server.maybe_promote_master()  # else, within a second of a replacement, the next one would be ignored
        server.reexec()

    server.handle_usr2 = replace
    server.handle_term = drain_and_stop
    server.handle_alrm = stop
    systemd.sd_notify(f"MAINPID={os.getpid()}", server.log)
    if server.master_pid > 1:
        os.kill(server.master_pid, signal.SIGTERM)


def pre_fork(server: Any, _worker: Any) -> None:
    """Leave no database connection behind in the master that a worker would inherit."""
    application = server.app.wsgi()
    known = getattr(application, "extensions", {})
    if "sqlalchemy" not in known:
        return
    with application.app_context():
        engines = [*known["sqlalchemy"].engines.values(), known.get("counter_engine")]
    for engine in filter(None, engines):
        engine.dispose()
