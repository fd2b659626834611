"""The README's first call, run as it stands there, against a live server."""

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.serving import make_server

from services.audit_service import ACTIONS

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def site(app: Flask) -> Iterator[str]:
    """The application, listening."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.real_database
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_first_call_works_as_it_stands_there(site: str) -> None:
    snippet = re.search(r"```sh\n(site=.*?)```", README, flags=re.DOTALL)
    assert snippet is not None
    script = snippet[1].replace("http://localhost:5000", site)
    done = subprocess.run(["sh", "-eu", "-c", script], capture_output=True, text=True, timeout=50, check=True)
    last = json.loads(done.stdout[done.stdout.rindex('{"success"') :])
    assert last["success"] is True
    assert last["data"]["email"] == "you@example.com"


def test_every_link_of_the_documentation_leads_somewhere() -> None:
    broken = []
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text(encoding="utf-8")):
            if not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


def test_the_audit_vocabulary_is_documented() -> None:
    page = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
    assert dict(re.findall(r"^\| `([a-z_:]+:[a-z_:]+)` \| (.+) \|$", page, flags=re.MULTILINE)) == ACTIONS
