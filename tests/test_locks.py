"""The locks are whole: whatever a locked package asks for, extras included, is pinned and hashed beside it.

A requirement that the lock lacks, or has without the extra that was asked for, is looked for among the newest
releases: pip then stops for want of a hash, on a day on which nothing here has changed.
"""

import importlib.metadata
import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.unit

PROJECT = Path(__file__).resolve().parents[1]
#: What is installed together, from an empty environment.
SETS = {
    "production": ("requirements.txt",),
    "start": ("requirements.txt", "localdb/requirements.txt"),
    "development": ("requirements-dev.txt",),
}
ENTRY = re.compile(r"^(?P<requirement>[a-z0-9][^\\\n]*?)(?P<hashes>(?: \\\n    --hash=\S+)*)$", re.MULTILINE)
#: The systems that the locks are made for.
SYSTEMS = [
    {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": system,
        "platform_system": {"linux": "Linux", "darwin": "Darwin"}[system],
        "platform_machine": machine,
        "os_name": "posix",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    for python in ("3.11", "3.12", "3.13")
    for system, machine in (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"))
]


@dataclass(frozen=True)
class Pin:
    """One package of a lock."""

    name: str
    version: str
    extras: frozenset[str]
    marker: Marker | None
    hashes: int

    def counts_on(self, system: dict[str, str]) -> bool:
        """Whether it is installed there."""
        return self.marker is None or self.marker.evaluate(system)


@pytest.mark.parametrize("lock", sorted({lock for locks in SETS.values() for lock in locks}))
def test_every_package_is_pinned_and_hashed(lock: str) -> None:
    pins = list(_pins(lock))
    assert len(pins) == len(re.findall(r"^[a-zA-Z0-9]", (PROJECT / lock).read_text(), re.MULTILINE))
    assert not [pin.name for pin in pins if not pin.version or not pin.hashes]


@pytest.mark.parametrize("kind", SETS)
def test_whatever_a_locked_package_asks_for_is_locked_with_its_extras(kind: str) -> None:
    pins = [pin for lock in SETS[kind] for pin in _pins(lock)]
    missing = {
        f"{pin.name} asks for {wanted}"
        for system in SYSTEMS
        for pin in pins
        if pin.counts_on(system)
        for wanted in _asked_for_by(pin, system)
        if not any(_answers(other, wanted) for other in pins if other.counts_on(system))
    }
    assert not missing


def test_a_pin_without_the_extra_is_no_answer() -> None:
    with_extra = Pin("coverage", "7.17.3", frozenset({"toml"}), None, 1)
    without = Pin("coverage", "7.17.3", frozenset(), None, 1)
    wanted = Requirement("coverage[toml]>=7.10")
    assert _answers(with_extra, wanted)
    assert not _answers(without, wanted)


def test_every_package_of_this_system_could_be_looked_into() -> None:
    pins = list(_pins("requirements-dev.txt"))
    unknown = {pin.name for pin in pins if _installed(pin) is None and pin.counts_on(_this_system())}
    assert not unknown


def _pins(lock: str) -> Iterator[Pin]:
    for entry in ENTRY.finditer((PROJECT / lock).read_text(encoding="utf-8")):
        requirement = Requirement(entry["requirement"])
        exact = [part.version for part in requirement.specifier if part.operator == "=="]
        yield Pin(
            canonicalize_name(requirement.name),
            exact[0] if len(exact) == 1 else "",
            frozenset(requirement.extras),
            requirement.marker,
            entry["hashes"].count("--hash=sha256:"),
        )


def _asked_for_by(pin: Pin, system: dict[str, str]) -> Iterator[Requirement]:
    """What the package asks for on a system, for itself and for its locked extras."""
    for text in _installed(pin) or ():
        wanted = Requirement(text)
        environments = [{**system, "extra": extra} for extra in ("", *pin.extras)]
        if wanted.marker is None or any(wanted.marker.evaluate(one) for one in environments):
            yield wanted


def _installed(pin: Pin) -> list[str] | None:
    """The requirements of the release that is installed here; None when that is another one, or none."""
    try:
        found = importlib.metadata.distribution(pin.name)
    except importlib.metadata.PackageNotFoundError:
        return None
    return list(found.requires or ()) if found.version == pin.version else None


def _answers(pin: Pin, wanted: Requirement) -> bool:
    return (
        pin.name == canonicalize_name(wanted.name)
        and wanted.specifier.contains(pin.version, prereleases=True)
        and wanted.extras <= pin.extras
    )


def _this_system() -> dict[str, str]:
    version = platform.python_version_tuple()
    return next(
        {**system, "python_full_version": platform.python_version()}
        for system in SYSTEMS
        if system["python_version"] == ".".join(version[:2])
        and system["platform_system"] == platform.system()
        and system["platform_machine"] == platform.machine()
    )
