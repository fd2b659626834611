"""./run on machines that lack one thing or another, played with a PATH of its own; nothing is downloaded."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import held

pytestmark = pytest.mark.integration

PROJECT = Path(__file__).resolve().parents[1]
TOOLS = (
    "cat",
    "cksum",
    "cut",
    "dirname",
    "env",
    "find",
    "grep",
    "head",
    "ln",
    "mkdir",
    "nproc",
    "ps",
    "readlink",
    "rm",
    "sed",
    "sh",
    "sleep",
)
LOCKS = ("requirements.txt", "requirements-dev.txt", "localdb/requirements.txt")
# Plays uv: makes an environment whose programs say how they were called, and notes each call.
UV = """#!/bin/sh
echo "$*" >> "$PLAYED/uv.log"
[ ! -e "$PLAYED/uv-fails" ] || exit 1
[ "$1" = venv ] || { sleep 0.3; exit 0; }
mkdir -p .venv/bin
ln -s "$REAL_PYTHON" .venv/bin/python
for program in flask pytest gunicorn; do
    printf '#!/bin/sh\\necho %s "$@"\\n' "$program" > ".venv/bin/$program"
    chmod +x ".venv/bin/$program"
done
"""
WITHOUT_VENV = """#!/bin/sh
case $2 in *ensurepip*) exit 1 ;; esac
exec "$REAL_PYTHON" "$@"
"""
BROKEN_SHIM = "#!/bin/sh\necho 'pyenv: python3.13: command not found' >&2\nexit 127\n"


class Machine:
    """A checkout and the programs that are found on its PATH."""

    def __init__(self, folder: Path) -> None:
        self.checkout = folder / "check out"
        self.bin = folder / "bin"
        self.bin.mkdir()
        for tool in (*TOOLS, "chmod"):
            if found := shutil.which(tool):
                (self.bin / tool).symlink_to(found)
        (self.checkout / "localdb").mkdir(parents=True)
        shutil.copy(PROJECT / "run", self.checkout / "run")
        for lock in LOCKS:
            (self.checkout / lock).write_text("package==1\n")

    def has(self, name: str, script: str) -> None:
        """Put a program on the PATH."""
        (self.bin / name).write_text(script)
        (self.bin / name).chmod(0o755)

    def has_python(self) -> None:
        """Put a good Python on the PATH."""
        self.has("python3", '#!/bin/sh\nexec "$REAL_PYTHON" "$@"\n')

    def start(self, *words: str, **variables: str) -> subprocess.Popen[str]:
        """Start ./run from another folder, without a home and with a strict umask."""
        environment = {"PATH": str(self.bin), "PLAYED": str(self.bin), "REAL_PYTHON": sys.executable}
        return held(
            subprocess.Popen(
                [self.checkout / "run", *words],
                cwd="/",
                env=environment | variables,
                umask=0o077,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )

    def run(self, *words: str, **variables: str) -> tuple[int, str, str]:
        """Exit status, output, errors of ./run."""
        process = self.start(*words, **variables)
        output, errors = process.communicate(timeout=30)
        return process.returncode, output, errors

    @property
    def uv_calls(self) -> list[str]:
        """How uv was called, in order."""
        log = self.bin / "uv.log"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A machine with the usual tools, but neither Python nor uv."""
    machine = Machine(tmp_path)
    yield machine
    assert not (machine.checkout / ".venv.lock").is_symlink()


@pytest.fixture
def with_uv(machine: Machine) -> Machine:
    """The same with Python and uv."""
    machine.has_python()
    machine.has("uv", UV)
    return machine


def test_help_needs_nothing_and_names_every_command(machine: Machine) -> None:
    status, output, _ = machine.run("help")
    named = set(re.findall(r"^\./run (\w+)", output, re.MULTILINE))
    handled = re.findall(r"^    ([a-z |]+)\)", (PROJECT / "run").read_text(), re.MULTILINE)
    assert status == 0
    assert named == {word for words in handled for word in words.split(" | ")} - {"start", "help"}
    assert named <= set((PROJECT / "Makefile").read_text().split())


def test_unknown_command_is_refused(machine: Machine) -> None:
    status, output, errors = machine.run("tset")
    assert (status, output) == (2, "")
    assert "There is no command tset" in errors


def test_without_python_remedies_are_named(machine: Machine) -> None:
    machine.has("python3.13", BROKEN_SHIM)
    status, _, errors = machine.run()
    assert status == 1
    assert re.search(r"not found[\s\S]*apt-get install[\s\S]*brew install[\s\S]*uv", errors)


def test_python_that_can_not_be_used_is_named(machine: Machine) -> None:
    machine.has_python()
    machine.has("old", "#!/bin/sh\nexit 1\n")
    assert "PYTHON is old, which is not a Python 3.11 or newer" in machine.run(PYTHON="old")[2]
    assert "PYTHON is missing," in machine.run(PYTHON="missing")[2]


def test_without_venv_the_remedy_is_named_and_no_half_environment_is_left(machine: Machine) -> None:
    machine.has("python3", WITHOUT_VENV)
    (machine.checkout / ".venv" / "bin").mkdir(parents=True)
    status, _, errors = machine.run()
    assert status == 1
    assert "apt-get install python3-venv" in errors
    assert not (machine.checkout / ".venv").exists()


def test_broken_shim_is_passed_over(with_uv: Machine) -> None:
    with_uv.has("python3.13", BROKEN_SHIM)
    assert with_uv.run()[:2] == (0, "flask start\n")
    assert with_uv.uv_calls[0] == "venv --quiet --python python3 .venv"


def test_uv_alone_brings_its_own_python(machine: Machine) -> None:
    machine.has("uv", UV)
    assert machine.run()[:2] == (0, "flask start\n")
    assert machine.uv_calls[0] == "venv --quiet --python 3.13 .venv"


def test_locks_are_installed_once_and_with_hashes(with_uv: Machine) -> None:
    with_uv.run()
    assert [call.split(" ", 5)[-1] for call in with_uv.uv_calls[1:]] == [
        "--require-hashes -r requirements.txt",
        "--require-hashes -r localdb/requirements.txt",
    ]
    assert with_uv.run("demo", "--small")[:2] == (0, "flask demo --small\n")
    assert len(with_uv.uv_calls) == 3


@pytest.mark.parametrize("lock", ["requirements.txt", "localdb/requirements.txt"])
def test_changed_lock_is_installed_into_the_same_environment(with_uv: Machine, lock: str) -> None:
    with_uv.run()
    (with_uv.checkout / lock).write_text("package==2\n")
    with_uv.run()
    assert len([call for call in with_uv.uv_calls if call.startswith("venv")]) == 1
    assert len(with_uv.uv_calls) == 5


def test_what_was_installed_for_tests_is_enough_to_start(with_uv: Machine) -> None:
    with_uv.run("test")
    assert with_uv.uv_calls[-1].endswith("--require-hashes -r requirements-dev.txt")
    with_uv.run()
    assert len(with_uv.uv_calls) == 2


def test_moved_checkout_is_installed_again(with_uv: Machine) -> None:
    with_uv.run()
    with_uv.checkout = with_uv.checkout.rename(with_uv.checkout.with_name("moved"))
    with_uv.run()
    assert len(with_uv.uv_calls) == 5


def test_broken_environment_is_made_anew(with_uv: Machine) -> None:
    with_uv.run()
    (with_uv.checkout / ".venv" / "bin" / "python").unlink()
    assert with_uv.run()[0] == 0
    assert len([call for call in with_uv.uv_calls if call.startswith("venv")]) == 2


def test_when_uv_fails_pip_is_tried(with_uv: Machine) -> None:
    (with_uv.bin / "uv-fails").touch()
    with_uv.has(
        "python3", '#!/bin/sh\n[ "$1" != -m ] || { echo "$*" >&2; exit 1; }\nexec "$REAL_PYTHON" "$@"\n'
    )
    status, _, errors = with_uv.run()
    assert status == 1
    assert "uv can't make the environment; trying pip." in errors
    assert "-m venv .venv" in errors


def test_tests_run_in_parallel_unless_arguments_choose_some(with_uv: Machine) -> None:
    assert re.fullmatch(
        r"pytest -n \d+ -m not browser and not slow and not performance\n", with_uv.run("test")[1]
    )
    assert with_uv.run("test", "-k", "two words")[1] == "pytest -k two words\n"


def test_pip_that_can_not_install_is_quoted_with_the_ways_out(machine: Machine) -> None:
    machine.has_python()
    status, _, errors = machine.run(PIP_NO_INDEX="1", PIP_CONFIG_FILE=os.devnull)
    assert status == 1
    assert "ERROR: Could not find a version that satisfies the requirement package==1" in errors
    assert re.search(r"Ways out[\s\S]*uv[\s\S]*install --upgrade pip[\s\S]*PIP_INDEX_URL", errors)


def test_serve_migrates_first(with_uv: Machine) -> None:
    assert with_uv.run("serve", "--workers", "2")[1].splitlines() == [
        "flask db upgrade",
        "gunicorn --config gunicorn.conf.py --workers 2 app:application",
    ]


def test_two_at_once_install_once(with_uv: Machine) -> None:
    both = [with_uv.start(), with_uv.start()]
    assert [process.communicate(timeout=30)[0] for process in both] == ["flask start\n"] * 2
    assert len(with_uv.uv_calls) == 3


def test_lock_of_a_dead_run_is_no_obstacle(with_uv: Machine) -> None:
    with held(subprocess.Popen(["true"])) as gone:
        pass
    (with_uv.checkout / ".venv.lock").symlink_to(str(gone.pid))
    assert with_uv.run()[:2] == (0, "flask start\n")


def test_interrupted_installation_is_repeated(with_uv: Machine) -> None:
    with_uv.has("uv", UV.replace("exit 0; }", "kill $PPID; exit 1; }"))
    assert with_uv.run()[0] != 0
    assert not (with_uv.checkout / ".venv.lock").is_symlink()
    with_uv.has("uv", UV)
    assert with_uv.run()[:2] == (0, "flask start\n")


def test_clean_removes_what_can_be_made_again_and_no_data(with_uv: Machine) -> None:
    with_uv.run()
    for folder in ("instance", ".mypy_cache", "blueprints/__pycache__", "instance/__pycache__"):
        (with_uv.checkout / folder).mkdir(parents=True)
    assert with_uv.run("clean")[0] == 0
    left = {path.name for path in with_uv.checkout.iterdir()}
    assert left == {"run", "localdb", "requirements.txt", "requirements-dev.txt", "instance", "blueprints"}
    assert (with_uv.checkout / "instance" / "__pycache__").exists()


def test_locks_are_hashed_and_name_no_machine_and_no_registry() -> None:
    for lock in LOCKS:
        text = (PROJECT / lock).read_text()
        assert "://" not in text
        assert not re.search(r"^-|^ *(/|\.\.)", text, re.MULTILINE)
        packages = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
        assert [package for package in packages if "--hash=sha256:" not in package] == []


def test_locks_agree_with_each_other() -> None:
    everything = pins(PROJECT / "requirements-dev.txt")
    for lock in LOCKS:
        assert pins(PROJECT / lock) <= everything


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_is_a_thin_alias(with_uv: Machine) -> None:
    shutil.copy(PROJECT / "Makefile", with_uv.checkout)
    asked = ["make", "--no-print-directory", "-C", str(with_uv.checkout), "test", "ARGS=-k word"]
    environment = {
        "PATH": f"{with_uv.bin}:{os.defpath}",
        "PLAYED": str(with_uv.bin),
        "REAL_PYTHON": sys.executable,
    }
    done = subprocess.run(asked, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "pytest -k word\n"


def pins(lock: Path) -> set[str]:
    """The packages and versions of a lock."""
    return set(re.findall(r"^[a-z0-9][^\\]*", lock.read_text(), re.MULTILINE))
