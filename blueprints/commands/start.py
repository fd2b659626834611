"""flask start: database, web server and worker from one command, for developers (what ./run ends with)."""

import errno
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType

import click
from flask import Blueprint, current_app
from werkzeug.serving import make_server

from blueprints.commands.box import box
from blueprints.commands.processes import PAUSE_SECONDS, Children, end_with_parent
from blueprints.commands.terminal import refusals_told
from services import auth_service, link_service, migration_service
from services.base_service import unit_of_work
from services.clock import now

bp = Blueprint("start_commands", __name__, cli_group=None)

PORTS_TRIED = 50
START_SECONDS = 60.0
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # names of it, nothing listens there by itself
LOCALHOST = {"127.0.0.1", "::1"}
WATCHED = ("app.py", "config.py", "extensions.py", "blueprints", "models", "services", "templates/emails")


@bp.cli.command("start")
@click.option("--no-worker", is_flag=True, help="Only the web server: mails stay in the outbox.")
@refusals_told
def start(*, no_worker: bool) -> None:
    """Migrate, serve and work until Ctrl-C; for development."""
    environment = current_app.config["ENVIRONMENT"]
    if environment in {"staging", "production"}:
        raise click.ClickException(
            f"flask start is for development, and this is {environment}. Run these two instead:\n"
            "  gunicorn --config gunicorn.conf.py app:application\n"
            "  flask worker"
        )
    if migration_service.bring_up_to_date():
        click.echo("The database is prepared.", err=True)
    with _stop_on_signals(), closing(_listen()) as listener:
        _run(listener, with_worker=not no_worker)


@bp.cli.command("web", hidden=True)
@click.option("--descriptor", type=int, required=True)
def web(descriptor: int) -> None:
    """The web server of flask start, on a socket that it inherits."""
    end_with_parent()
    config = current_app.config
    application = current_app._get_current_object()  # type: ignore[attr-defined]  # the app behind the proxy
    server = make_server(config["FLASK_HOST"], 0, application, threaded=True, fd=descriptor)
    server.serve_forever()


class Stopped(BaseException):
    """Ctrl-C, SIGTERM, or the terminal is gone."""


def _run(listener: socket.socket, *, with_worker: bool) -> None:
    port = listener.getsockname()[1]
    settings = current_app.extensions["settings"].model_copy(update={"PORT": port})
    as_of = _newest_change()
    with closing(Children(Path(current_app.root_path), {"PORT": str(port)})) as children:
        try:
            _start_web(children, listener)
            _await_answer(children, settings.model_copy(update={"BASE_URL": ""}).url + "/health")
            _start_worker(children, wanted=with_worker)
            title = f"{current_app.config['APP_NAME']} runs"
            click.echo(box(title, _rows(settings.url), "Ctrl-C stops everything."))
            _watch(children, listener, with_worker=with_worker, as_of=as_of)
        except Stopped:
            click.echo("\nStopping ...", err=True)


def _start_web(children: Children, listener: socket.socket) -> None:
    descriptor = listener.fileno()
    children.start("web server", "web", f"--descriptor={descriptor}", keep=(descriptor,))


def _start_worker(children: Children, *, wanted: bool) -> None:
    if wanted:
        children.start("worker", "worker")


def _watch(children: Children, listener: socket.socket, *, with_worker: bool, as_of: float) -> None:
    """Until one ends, or for ever: with FLASK_DEBUG changed code replaces them, and may end them meanwhile."""
    reloads = current_app.config["FLASK_DEBUG"]
    while True:
        time.sleep(PAUSE_SECONDS * (5 if reloads else 1))
        if not reloads:
            _complain(children)
        elif (newest := _newest_change()) != as_of:
            as_of = newest
            click.echo("The code has changed: starting again.", err=True)
            children.stop()
            _start_web(children, listener)
            _start_worker(children, wanted=with_worker)


def _complain(children: Children) -> None:
    """Raise when a child has ended."""
    if ended := children.ended():
        name, status = ended
        how = f"exit status {status}" if status >= 0 else signal.Signals(-status).name
        raise click.ClickException(f"The {name} has ended ({how}), so everything is stopped.")


def _await_answer(children: Children, url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        _complain(children)
        try:
            urllib.request.urlopen(url, timeout=3).close()  # noqa: S310  # our own address
        except (urllib.error.URLError, OSError):
            time.sleep(PAUSE_SECONDS)
        else:
            return
    raise click.ClickException("The web server does not answer, so everything is stopped.")


def _rows(site: str) -> list[tuple[str, str]]:
    with unit_of_work():
        token = auth_service.setup_link()
    rows = [("Site", site)]
    if token is None:
        rows.append(("Sign in", f"{site}/auth/login"))
    else:
        until = (now() + link_service.SETUP_LIFE).astimezone()
        rows.append(("First administrator", f"{site}/auth/setup?token={token}"))
        rows.append(("", f"works once, until {until:%H:%M}"))
    rows.append(("Mailbox", f"{site}/dev/mail"))
    rows.append(("API documentation", f"{site}/api/docs"))
    rows.append(("Try", f"curl {site}/api/v1/status"))
    return rows


def _listen() -> socket.socket:
    """A listening socket on the configured port, or on the next one that is free."""
    settings = current_app.extensions["settings"]
    host, wanted = settings.FLASK_HOST, settings.port
    for port in range(wanted, min(wanted + PORTS_TRIED, 65536)):
        listener = _bound(host, port)
        if listener is not None:
            if port != wanted:
                click.echo(f"Port {wanted} is in use; taking {port}.", err=True)
                if settings.BASE_URL:
                    click.echo(
                        f"Links in mails still lead to {settings.BASE_URL}, as BASE_URL says.", err=True
                    )
            return listener
    raise click.ClickException(f"Ports {wanted} to {port} are in use. Choose another one: PORT=8000 ./run")


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _answers(host: str, port: int) -> bool:
    try:
        with socket.socket(_family(host)) as somebody:
            somebody.settimeout(1)
            return somebody.connect_ex((host, port)) == 0
    except OSError:  # a machine without IPv6
        return False


def _bound(host: str, port: int) -> socket.socket | None:
    # Where somebody listens on every address, binding a single one may work, and browsers then find the other;
    # localhost is two addresses, of which they try the one first that we don't have.
    reached = EVERYWHERE.get(host, host)
    if any(_answers(address, port) for address in (LOCALHOST if reached in LOCALHOST else {reached})):
        return None
    listener = socket.socket(_family(host))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise click.ClickException(f"Can't listen on {host}, port {port}: {error.strerror}.") from error
    listener.listen(128)
    return listener


def _newest_change() -> float:
    root = Path(current_app.root_path)
    files = [
        path
        for name in WATCHED
        for path in ((root / name).rglob("*") if (root / name).is_dir() else [root / name])
    ]
    return max(_changed_at(path) for path in files if path.suffix in {".py", ".html", ".txt"})


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # an editor's draft, gone while we looked
        return 0.0


@contextmanager
def _stop_on_signals() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        raise Stopped

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    former = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    except Stopped:
        sys.exit(0)
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
