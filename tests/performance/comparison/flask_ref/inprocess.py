"""CPU microseconds a request costs inside the WSGI callable, without any server: the
quiet way to compare levers. Each configuration runs in its own process, in turns.

    python inprocess.py get_user "LEVER_DATA=core LEVER_SESSION=bearer" "LEVER_DATA=one ..."
"""

import io
import os
import statistics
import subprocess
import sys
import time

N = int(os.environ.get("BENCH_N", "1500"))


def one(scenario: str) -> None:
    import random

    from app import create_app

    app = create_app()
    tokens = open(os.environ["BENCH_TOKENS"]).read().split()

    def environ():
        body, method, query = b"", "GET", ""
        path = f"/api/v1/users/{random.randint(1, 10_000)}"
        if scenario == "list_users":
            path, query = "/api/v1/users", "page=7&per_page=20"
        elif scenario == "put_user":
            method, body = "PUT", b'{"name":"Name %d"}' % random.randrange(10**6)
        elif scenario == "health":
            path = "/health"
        return {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "SCRIPT_NAME": "",
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_HOST": "127.0.0.1",
            "CONTENT_TYPE": "application/json",
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_AUTHORIZATION": "Bearer " + random.choice(tokens),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }

    def call():
        status = []
        it = app(environ(), lambda s, h, e=None: status.append(s))
        b"".join(it)
        getattr(it, "close", lambda: None)()
        assert status[0].startswith("200"), status

    for _ in range(200):
        call()
    t0, c0 = time.perf_counter(), time.process_time()
    for _ in range(N):
        call()
    print((time.process_time() - c0) / N * 1e6, (time.perf_counter() - t0) / N * 1e6)


def main() -> None:
    scenario, configs = sys.argv[1], sys.argv[2:] or [""]
    out: dict = {}
    for _ in range(int(os.environ.get("BENCH_ROUNDS", "3"))):
        for c in configs:
            env = {**os.environ, **dict(kv.split("=", 1) for kv in c.split())}
            text = subprocess.run(
                [sys.executable, __file__, "--child", scenario],
                env=env,
                capture_output=True,
                text=True,
                check=True,
            ).stdout.split()
            out.setdefault(c, []).append((float(text[0]), float(text[1])))
    print(f"{scenario}\n{'CPU us':>8} {'min':>7} {'wall us':>8}  configuration")
    for c, runs in out.items():
        print(
            f"{statistics.median(r[0] for r in runs):8.0f} {min(r[0] for r in runs):7.0f} "
            f"{statistics.median(r[1] for r in runs):8.0f}  {c or '(defaults)'}",
            flush=True,
        )


if __name__ == "__main__":
    one(sys.argv[2]) if sys.argv[1:2] == ["--child"] else main()
