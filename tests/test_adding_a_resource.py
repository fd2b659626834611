"""docs/adding-a-resource.md, followed to the letter in a copy of the project."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "instance", "logs", "build", "htmlcov", "__pycache__", ".*_cache"
)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_the_guide_gives_a_resource_that_works(tmp_path: Path) -> None:
    copy = tmp_path / "project"
    shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
    guide = (ROOT / "docs" / "adding-a-resource.md").read_text(encoding="utf-8")
    files = dict(
        re.findall(r"^## \d\. [^`\n]*`([^`]+)`\n\n```python\n(.*?)```", guide, flags=re.DOTALL | re.MULTILINE)
    )
    assert len(files) == 5
    for name, content in files.items():
        assert not (copy / name).exists()
        (copy / name).write_text(content, encoding="utf-8")
    environment = {**os.environ, "FLASK_CONFIG": "development", "PYTHONPATH": str(copy)}
    for variable in ("DATABASE_URL", "TEST_DATABASE_URL", "APP_DATA_DIR"):
        environment.pop(variable, None)

    def run(*command: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=copy,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    run("flask", "db", "upgrade")
    run("flask", "db", "migrate", "-m", "notes")
    made = {str(path.relative_to(copy)) for path in (copy / "migrations" / "versions").glob("*notes.py")}
    assert {path.rpartition("/")[2] for path in made} == set(re.findall(r"\d{4}_notes\.py", guide)[:1])
    run(
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/integration/api/test_notes.py",
        "tests/test_architecture.py",
    )
    run("ruff", "check", "--ignore=INP", *files)
