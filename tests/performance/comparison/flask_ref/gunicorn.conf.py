"""Shared by every gunicorn run: settings come from environment variables."""

import gc
import os
import sys

bind = f"127.0.0.1:{os.environ['BENCH_PORT']}"
workers = int(os.environ.get("BENCH_WORKERS", "2"))
worker_class = os.environ.get("BENCH_WORKER_CLASS", "gthread")
threads = int(os.environ.get("BENCH_THREADS", "4"))
worker_connections = int(os.environ.get("BENCH_CONNECTIONS", "2000"))
backlog = 2048
keepalive = int(os.environ.get("BENCH_KEEPALIVE", "65"))
preload_app = os.environ.get("BENCH_PRELOAD", "1") == "1"
control_socket_disable = True
loglevel = "warning"
http_parser = os.environ.get("BENCH_HTTP_PARSER", "auto")
reuse_port = os.environ.get("BENCH_REUSE_PORT", "0") == "1"

if worker_class == "gevent":

    def post_fork(server, worker):
        from psycogreen.gevent import patch_psycopg

        patch_psycopg()


def when_ready(server):
    if preload_app and os.environ.get("BENCH_FREEZE", "1") == "1":
        gc.collect()
        gc.freeze()


def post_worker_init(worker):
    if os.environ.get("BENCH_SWITCH"):
        sys.setswitchinterval(float(os.environ["BENCH_SWITCH"]))
    threshold = os.environ.get("BENCH_GC")
    if threshold:
        gc.set_threshold(int(threshold), 50, 100)
