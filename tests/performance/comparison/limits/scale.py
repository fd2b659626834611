"""How the read queries grow with the table: median ms of each, on the table as it is.
python limits/scale.py            (after setup_db.py --rows 1000000)"""

import os
import statistics
import time

import psycopg2

conn = psycopg2.connect(os.environ["BENCH_PG_URL"])
conn.autocommit = True
cur = conn.cursor()
COLS = "id, email, name, role, is_active, created_at, updated_at"


def ms(sql, n=15):
    out = []
    for _ in range(n):
        t = time.perf_counter()
        cur.execute(sql)
        cur.fetchall()
        out.append((time.perf_counter() - t) * 1000)
    return statistics.median(out)


cur.execute("SELECT count(*) FROM users")
rows = cur.fetchone()[0]
last = max(1, rows // 20 * 8 // 10)  # a page at 80 % of the table
cases = {
    "one user by id": f"SELECT {COLS} FROM users WHERE id = {rows // 2}",
    "page 7 by offset": f"SELECT {COLS} FROM users ORDER BY id LIMIT 20 OFFSET 120",
    f"page {last} by offset": f"SELECT {COLS} FROM users ORDER BY id LIMIT 20 OFFSET {(last - 1) * 20}",
    f"page {last} by key (id > x)": f"SELECT {COLS} FROM users WHERE id > {(last - 1) * 20} ORDER BY id LIMIT 20",
    f"page {last}, offset over the index, then joined": f"SELECT {COLS} FROM users JOIN (SELECT id FROM users ORDER BY id LIMIT 20 OFFSET {(last - 1) * 20}) k USING (id) ORDER BY id",
    "count(*)": "SELECT count(*) FROM users",
    "count up to 10,001": "SELECT count(*) FROM (SELECT 1 FROM users LIMIT 10001) s",
    "estimate from pg_class": "SELECT reltuples::bigint FROM pg_class WHERE oid = 'users'::regclass",
    "page 7 with count(*) OVER ()": f"SELECT {COLS}, count(*) OVER () FROM users ORDER BY id LIMIT 20 OFFSET 120",
    "newest 20 by created_at, no index": f"SELECT {COLS} FROM users ORDER BY created_at DESC LIMIT 20",
}
search = {
    "search, rare substring (email or name)": f"SELECT {COLS} FROM users WHERE email ILIKE '%ser4321@%' OR name ILIKE '%ser4321@%' ORDER BY id LIMIT 20",
    "search, common substring (limit 20)": f"SELECT {COLS} FROM users WHERE email ILIKE '%user1%' OR name ILIKE '%user1%' ORDER BY id LIMIT 20",
    "search, common substring, counted": "SELECT count(*) FROM users WHERE email ILIKE '%user1%' OR name ILIKE '%user1%'",
    "search, no match": f"SELECT {COLS} FROM users WHERE email ILIKE '%zzzq%' OR name ILIKE '%zzzq%' ORDER BY id LIMIT 20",
}
print(f"rows {rows}")
for label, sql in {**cases, **search}.items():
    print(f"{ms(sql, 5):10.3f} ms  {label}", flush=True)
cur.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
t = time.time()
cur.execute("CREATE INDEX bench_email_trgm ON users USING gin (email gin_trgm_ops)")
cur.execute("CREATE INDEX bench_name_trgm ON users USING gin (name gin_trgm_ops)")
cur.execute("CREATE INDEX bench_created ON users (created_at DESC, id DESC)")
print(f"  indexes built in {time.time() - t:.1f} s")
cur.execute("VACUUM (ANALYZE) users")
cur.execute(
    "SELECT pg_size_pretty(sum(pg_relation_size(indexrelid))) FROM pg_index "
    "WHERE indexrelid::regclass::text LIKE 'bench%trgm'"
)
print(f"  trigram indexes: {cur.fetchone()[0]}")
for label, sql in search.items():
    print(f"{ms(sql, 5):10.3f} ms  {label}, pg_trgm")
print(f"{ms(cases['newest 20 by created_at, no index'], 5):10.3f} ms  newest 20 by created_at, with index")
for name in ("bench_email_trgm", "bench_name_trgm", "bench_created"):
    cur.execute(f"DROP INDEX {name}")
