"""The floor under any WSGI framework: a bare callable, optionally with the same JWT
check and the same two rows through psycopg2 on one persistent autocommit connection a
thread, and a hand-picked encoder. No routing, no ORM, no validation: not a peer, a limit."""

import os
import threading

import jwt
import orjson
import psycopg2

SECRET = os.environ["BENCH_SECRET"]
DSN = os.environ["BENCH_PG_URL"]
JSON = [("Content-Type", "application/json")]
COLS = "id, email, name, role, is_active, created_at, updated_at"
local = threading.local()


def cursor():
    cur = getattr(local, "cur", None)
    if cur is None:
        conn = psycopg2.connect(DSN)
        conn.autocommit = True
        cur = local.cur = conn.cursor()
        cur.execute(f"PREPARE u(bigint) AS SELECT {COLS} FROM users WHERE id = $1")
        cur.execute("PREPARE a(bigint) AS SELECT id, role, is_active FROM users WHERE id = $1")
    return cur


def reply(start_response, status, body):
    start_response(status, JSON + [("Content-Length", str(len(body)))])
    return [body]


def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/health":
        return reply(start_response, "200 OK", b'{"status":"ok"}')
    claims = jwt.decode(environ["HTTP_AUTHORIZATION"][7:], SECRET, algorithms=["HS256"])
    cur = cursor()
    cur.execute("EXECUTE a(%s)", (int(claims["sub"]),))
    me = cur.fetchone()
    if not me or not me[2]:
        return reply(start_response, "401 Unauthorized", b"{}")
    cur.execute("EXECUTE u(%s)", (int(path.rsplit("/", 1)[1]),))
    r = cur.fetchone()
    return reply(
        start_response,
        "200 OK",
        orjson.dumps(
            {
                "id": r[0],
                "email": r[1],
                "name": r[2],
                "role": r[3],
                "is_active": r[4],
                "created_at": r[5],
                "updated_at": r[6],
            }
        ),
    )
