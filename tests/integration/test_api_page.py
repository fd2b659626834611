"""docs/api.md and docs/commands.md: the commands on them run as they stand, and none of ours is left out."""

import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from flask import Flask
from werkzeug.serving import make_server

from services.media_stores.folder import Folder
from services.worker import Worker
from tests.clients import Api
from tests.factories import Person, make_person
from tests.integration.own_data.pictures import picture

DOCS = Path(__file__).resolve().parents[2] / "docs"
OF_FLASK = {"run", "shell", "routes", "db", "digest"}


@pytest.fixture
def site(app: Flask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The application, listening, with a worker beside it."""
    monkeypatch.setitem(app.extensions, "media_store", Folder(tmp_path / "media"))
    server, worker = make_server("127.0.0.1", 0, app, threaded=True), Worker(app)
    threads = [threading.Thread(target=server.serve_forever), threading.Thread(target=worker.work)]
    for thread in threads:
        thread.start()
    yield f"http://localhost:{server.server_port}"
    worker.stop()
    server.shutdown()
    for thread in threads:
        thread.join()
    server.server_close()


@pytest.mark.real_database
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_examples_run_as_they_stand(app: Flask, site: str, ada: Person, api: Api, tmp_path: Path) -> None:
    make_person(app, "Boss Person", role="admin")  # so that Ada may leave
    (tmp_path / "me.png").write_bytes(picture())
    blocks = re.findall(r"```sh\n(.*?)```", (DOCS / "api.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 5
    done = subprocess.run(
        ["sh", "-eu", "-c", "\n".join(blocks)],
        env={"PATH": "/usr/bin:/bin", "site": site, "token": str(api.as_(ada).token)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert '"success": false' not in done.stdout
    assert '"success":false' not in done.stdout
    assert ada.email in (tmp_path / "my-data.json").read_text(encoding="utf-8")
    assert api.as_(ada).get("/users/me").status_code == 200, "and she stayed"


def commands(group: click.Group, words: str) -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{words} {name}")
        elif not command.hidden:
            yield f"{words} {name}"


def test_every_command_is_on_its_page(app: Flask) -> None:
    page = (DOCS / "commands.md").read_text(encoding="utf-8")
    ours = [name for name in commands(app.cli, "flask") if name.split()[1] not in OF_FLASK]
    assert len(ours) > 15
    assert [name for name in ours if not re.search(rf"{re.escape(name)}\b", page)] == []
