"""Microseconds a single-row primary-key read costs through each client, in one thread."""

import os
import random
import time

import psycopg
import psycopg2
from sqlalchemy import create_engine, text

URL = os.environ["BENCH_PG_URL"]
SOCK = os.environ.get("BENCH_PG_URL_UNIX")
COLS = "id, email, name, role, is_active, created_at, updated_at"
N = int(os.environ.get("BENCH_N", "8000"))


def timed(label, fn, out):
    for _ in range(300):
        fn(random.randint(1, 10_000))
    c0, t0 = time.process_time(), time.perf_counter()
    for _ in range(N):
        fn(random.randint(1, 10_000))
    dt, dc = time.perf_counter() - t0, time.process_time() - c0
    out.setdefault(label, []).append((dt / N * 1e6, dc / N * 1e6))


def p2(url, autocommit=True, prepared=False, rollback=False):
    conn = psycopg2.connect(url)
    conn.autocommit = autocommit
    cur = conn.cursor()
    sql = f"SELECT {COLS} FROM users WHERE id = %s"
    if prepared:
        cur.execute(f"PREPARE q(bigint) AS SELECT {COLS} FROM users WHERE id = $1")
        sql = "EXECUTE q(%s)"

    def one(i):
        cur.execute(sql, (i,))
        row = cur.fetchone()
        if rollback:
            conn.rollback()
        return row

    return one


def p3(url, autocommit=True, prepare=True, binary=False):
    conn = psycopg.connect(url, autocommit=autocommit, prepare_threshold=5 if prepare else None)
    cur = conn.cursor(binary=binary)

    def one(i):
        cur.execute(f"SELECT {COLS} FROM users WHERE id = %s", (i,))
        return cur.fetchone()

    return one


def sa(url, driver, **kw):
    eng = create_engine(url.replace("postgres://", f"postgresql+{driver}://"), **kw)
    stmt = text(f"SELECT {COLS} FROM users WHERE id = :i")

    def one(i):
        with eng.connect() as c:
            return c.execute(stmt, {"i": i}).first()

    return one


cases = {
    "psycopg2, autocommit": p2(URL),
    "psycopg2, autocommit, PREPARE": p2(URL, prepared=True),
    "psycopg2, BEGIN + ROLLBACK": p2(URL, autocommit=False, rollback=True),
    "psycopg 3, autocommit, prepared": p3(URL),
    "psycopg 3, autocommit, prepared, binary": p3(URL, binary=True),
    "psycopg 3, autocommit, not prepared": p3(URL, prepare=False),
    "SQLAlchemy Core text + psycopg2": sa(URL, "psycopg2"),
    "SQLAlchemy Core text + psycopg2, autocommit, no reset": sa(
        URL, "psycopg2", isolation_level="AUTOCOMMIT", pool_reset_on_return=None
    ),
    "SQLAlchemy Core text + psycopg 3": sa(URL, "psycopg"),
    "SQLAlchemy Core text + psycopg 3, autocommit, no reset": sa(
        URL, "psycopg", isolation_level="AUTOCOMMIT", pool_reset_on_return=None
    ),
}
if SOCK:
    cases["psycopg2, autocommit, unix socket"] = p2(SOCK)
    cases["psycopg2, autocommit, PREPARE, unix socket"] = p2(SOCK, prepared=True)
    cases["psycopg 3, autocommit, prepared, unix socket"] = p3(SOCK)

out: dict = {}
for _ in range(3):
    for label, fn in cases.items():
        timed(label, fn, out)
print(f"{'client':58} {'us/query':>9} {'client CPU us':>14}")
for label, runs in out.items():
    runs.sort()
    print(f"{label:58} {runs[1][0]:9.1f} {runs[1][1]:14.1f}")
