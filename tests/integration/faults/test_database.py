"""The database goes away, comes back, freezes, or is too busy (F1 to F6, F9): 503 where it is needed, nothing lost."""

import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing

import psycopg2
import pytest

from tests.integration.deploy.servers import until
from tests.integration.faults.crowd import Crowd, Watchman
from tests.integration.faults.servers import (
    DATABASE,
    Postgres,
    Site,
    check_unavailable,
    sign_in_body,
    some_cookie,
)

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(120)]


def test_away_means_503_in_the_callers_language(site: Site, postgres: Postgres, tokens: list[str]) -> None:
    assert site.is_ready()
    postgres.stop()
    check_unavailable(site.ask("GET", "/api/v1/users/me", token=tokens[0]), as_json=True)
    check_unavailable(site.ask("PATCH", "/api/v1/users/me", {"name": "New"}, token=tokens[0]), as_json=True)
    check_unavailable(site.ask("POST", "/api/v1/auth/login", sign_in_body(postgres.people[0])), as_json=True)
    check_unavailable(site.ask("GET", "/dashboard", headers=some_cookie()), as_json=False)
    assert site.ask("GET", "/health").status == 200
    ready = site.ask("GET", "/health/ready")
    assert (ready.status, "retry-after" in ready.headers) == (503, True)
    assert site.ask("GET", "/health/database").status == 503
    assert site.ask("GET", "/health/detailed").status == 503
    assert site.ask("GET", "/auth/login").status == 200
    postgres.start()
    until(site.is_ready, seconds=5, what="ready again")
    assert site.ask("GET", "/api/v1/users/me", token=tokens[0]).status == 200


@pytest.mark.parametrize(
    "how", [pytest.param(signal.SIGINT, id="fast"), pytest.param(signal.SIGQUIT, id="crash")]
)
def test_restart_loses_no_acknowledged_write(
    site: Site, postgres: Postgres, tokens: list[str], how: signal.Signals
) -> None:
    crowd, watchman = Crowd(site, tokens), Watchman(site)
    with crowd.busy(), watchman.watching():
        time.sleep(1.5)
        postgres.stop(how)
        time.sleep(1)
        postgres.start()
        until(site.is_ready, seconds=5, what="ready again")
        before = len(crowd.acknowledged)
        until(lambda: len(crowd.acknowledged) > before + 10, seconds=5, what="writes go through again")
    assert crowd.statuses() == {"200", "503"}, crowd.asked
    assert crowd.lost_writes(postgres) == []
    crowd.check_refusals()
    assert watchman.wrong == []
    assert site.logged("unhandled_exception") == []


def test_killed_backend_makes_the_server_recover_and_nothing_is_lost(
    site: Site, postgres: Postgres, tokens: list[str]
) -> None:
    crowd = Crowd(site, tokens)
    with crowd.busy():
        time.sleep(1)
        postgres.crash_a_backend()
        until(lambda: crowd.asked["write 503"] + crowd.asked["read 503"] > 0, seconds=10, what="trouble")
        until(site.is_ready, seconds=10, what="ready again")
        before = len(crowd.acknowledged)
        until(lambda: len(crowd.acknowledged) > before + 10, seconds=10, what="writes go through again")
    assert crowd.statuses() == {"200", "503"}, crowd.asked
    assert crowd.lost_writes(postgres) == []


def test_terminated_backends_are_replaced_and_reads_do_not_notice(
    site: Site, postgres: Postgres, tokens: list[str]
) -> None:
    crowd = Crowd(site, tokens)
    with crowd.busy():
        time.sleep(0.5)
        before = postgres.connections()
        for _ in range(5):
            postgres.terminate_backends()
            time.sleep(2)
    assert crowd.statuses() <= {"200", "503"}, crowd.asked
    assert crowd.asked["read 503"] == 0, crowd.asked
    assert crowd.lost_writes(postgres) == []
    assert before <= postgres.connections() <= 2 * 4 + 2 * 4
    until(postgres.is_clean, seconds=5, what="no transaction is left")
    assert site.logged("unhandled_exception") == []


def test_frozen_database_holds_nobody_for_long(site: Site, postgres: Postgres, tokens: list[str]) -> None:
    crowd, watchman = Crowd(site, tokens, pause_seconds=0.1), Watchman(site)
    with crowd.busy(), watchman.watching():
        time.sleep(1)
        postgres.freeze()
        time.sleep(15)
        refused = site.ask("GET", "/api/v1/users/me", token=tokens[0])
        ready = site.ask("GET", "/health/ready")
        postgres.thaw()
        until(site.is_ready, seconds=10, what="ready again")
        before = len(crowd.acknowledged)
        until(lambda: len(crowd.acknowledged) > before + 10, seconds=10, what="writes go through again")
    assert site.logged("unhandled_exception") == []
    check_unavailable(refused, as_json=True)
    assert ready.status == 503
    assert crowd.statuses() == {"200", "503"}, crowd.asked
    assert crowd.slowest < 6.5
    assert crowd.asked["read 503"] > 50, "most are refused at once"
    assert watchman.wrong == []
    assert watchman.usual < 0.1
    assert crowd.lost_writes(postgres) == []
    until(postgres.is_clean, seconds=10, what="no transaction is left")


def test_row_held_by_somebody_stops_only_those_who_want_it(
    site: Site, postgres: Postgres, tokens: list[str]
) -> None:
    outcomes: list[tuple[int, float]] = []

    def rename() -> None:
        answer = site.ask("PATCH", "/api/v1/users/me", {"name": "Waiting"}, token=tokens[0])
        outcomes.append((answer.status, answer.seconds))

    with closing(postgres.connect()) as holder, holder.cursor() as cursor:
        holder.autocommit = False
        cursor.execute("SELECT FROM users WHERE id = %s FOR UPDATE", (postgres.people[0].id,))
        threads = [threading.Thread(target=rename) for _ in range(40)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        reads = [site.ask("GET", "/api/v1/users/me", token=tokens[1]) for _ in range(20)]
        for thread in threads:
            thread.join(20)
        holder.rollback()
    assert {status for status, _ in outcomes} == {503}
    # Two seconds in line, a statement's five (those who want a row wait for each other first), a busy machine's one.
    assert max(seconds for _, seconds in outcomes) < 8
    assert {answer.status for answer in reads} == {200}
    assert sorted(answer.seconds for answer in reads)[10] < 0.5
    assert site.logged("unhandled_exception") == []
    assert site.ask("PATCH", "/api/v1/users/me", {"name": "Through"}, token=tokens[0]).status == 200


def test_small_pool_refuses_in_time_and_leaks_nothing(
    serve: Callable[..., Site], postgres: Postgres, tokens: list[str]
) -> None:
    site = serve(SQLALCHEMY_POOL_SIZE="1", SQLALCHEMY_POOL_TIMEOUT="1", GUNICORN_WORKERS="1")
    with closing(postgres.connect()) as holder, holder.cursor() as cursor:
        holder.autocommit = False
        cursor.execute("LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE")
        crowd = Crowd(site, tokens)
        with crowd.busy():
            time.sleep(3)
    assert crowd.statuses() == {"503"}, crowd.asked
    assert crowd.slowest < 6
    assert "QueuePool" not in site.log.read_text()
    assert site.ask("GET", "/api/v1/users/me", token=tokens[0]).status == 200
    assert postgres.connections() <= 1 + 2


def test_every_connection_taken_by_others(
    serve: Callable[..., Site], postgres: Postgres, tokens: list[str]
) -> None:
    with ExitStack() as others:
        last = postgres.connect()
        others.callback(last.close)
        while True:
            try:
                others.callback(postgres.connect().close)
            except psycopg2.OperationalError:
                break
        site = serve()
        check_unavailable(site.ask("GET", "/api/v1/users/me", token=tokens[0]), as_json=True)
        assert site.ask("GET", "/health").status == 200
        assert site.ask("GET", "/health/ready").status == 503
    until(site.is_ready, seconds=5, what="ready")
    assert site.ask("GET", "/api/v1/users/me", token=tokens[0]).status == 200


def test_of_two_hosts_the_one_that_answers_is_used(
    serve: Callable[..., Site], postgres: Postgres, tokens: list[str]
) -> None:
    here = postgres.cluster.places.sockets
    hosts = f"host=/nowhere:5432&host={here}:5432"
    site = serve(DATABASE_URL=f"postgresql://postgres@/{DATABASE}?{hosts}&target_session_attrs=read-write")
    assert site.is_ready()
    assert site.ask("PATCH", "/api/v1/users/me", {"name": "Found"}, token=tokens[0]).status == 200


def test_table_locked_by_a_change_of_schema(site: Site, postgres: Postgres, tokens: list[str]) -> None:
    with closing(postgres.connect()) as holder, holder.cursor() as cursor:
        holder.autocommit = False
        cursor.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        read = site.ask("GET", "/api/v1/users/me", token=tokens[0])
        write = site.ask("PATCH", "/api/v1/users/me", {"name": "Waiting"}, token=tokens[0])
        assert site.ask("GET", "/health").status == 200
        holder.rollback()
    for answer in (read, write):
        check_unavailable(answer, as_json=True)
        assert 1.5 < answer.seconds < 4
    assert site.ask("GET", "/api/v1/users/me", token=tokens[0]).status == 200
