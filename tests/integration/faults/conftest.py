"""One seeded data folder for all; for each test a server on a copy, and Portico on that."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.factories import Person
from tests.integration.faults.servers import Postgres, Site, running_copy, seeded_data, tokens_of
from tests.integration.localdb.servers import open_folder


@pytest.fixture(scope="session")
def seed() -> Iterator[tuple[Path, list[Person]]]:
    """A stopped server's data, and who is in it."""
    with open_folder() as folder, seeded_data(folder) as made:
        yield made


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder that PostgreSQL's account may enter too."""
    with open_folder() as made:
        yield made


@pytest.fixture
def postgres(seed: tuple[Path, list[Person]], folder: Path) -> Iterator[Postgres]:
    """A server that the test may mistreat."""
    data, people = seed
    with running_copy(data, folder, people) as made:
        yield made


@pytest.fixture
def tokens(postgres: Postgres) -> list[str]:
    """An access token of each of the people, the administrator left out."""
    return tokens_of(postgres)[:-1]


@pytest.fixture
def serve(postgres: Postgres, tmp_path: Path) -> Iterator[Callable[..., Site]]:
    """Start Portico as production does; variables win."""
    started: list[Site] = []

    def served(*, log: Path | None = None, under: Sequence[str] = (), **variables: str) -> Site:
        settings = {"DATABASE_URL": postgres.url, **variables}
        started.append(Site(log or tmp_path / f"log{len(started)}", under=under, **settings))
        return started[-1]

    yield served
    for site in started:
        site.kill()


@pytest.fixture
def site(serve: Callable[..., Site]) -> Site:
    """Portico, up and serving."""
    return serve()
