"""A small app that says what reached it, so that tests see what gunicorn.conf.py and nginx do, apart from Portico."""

import os
import threading
import time
from pathlib import Path

from flask import Flask, Response, current_app, request

from blueprints.http import refusals

application = Flask(__name__, static_folder=None)
application.config["FORCE_HTTPS"] = True
refusals.init_app(application)
application.extensions["draining"] = threading.Event()
RELEASE = "one"


@application.after_request
def number(answer: Response) -> Response:
    """Answers bear the number of their request, as Portico's do."""
    answer.headers.setdefault("X-Request-ID", request.headers.get("X-Request-ID", ""))
    return answer


@application.get("/health")
def health() -> dict[str, object]:
    return {"status": "healthy", "worker": os.getpid(), "release": RELEASE}


@application.get("/health/<path:inner>")
def inner(inner: str) -> tuple[dict[str, object], int]:
    return {"inner": inner}, 503 if current_app.extensions["draining"].is_set() else 200


@application.get("/slow")
def slow() -> dict[str, object]:
    time.sleep(0.03)
    return {"worker": os.getpid()}


@application.route("/echo", methods=["GET", "POST"])
@application.route("/api/echo", methods=["GET", "POST"])
def echo() -> dict[str, object]:
    return {
        "address": request.remote_addr,
        "scheme": request.scheme,
        "headers": dict(request.headers),
        "size": len(request.get_data()),
    }


@application.get("/broken")
@application.get("/api/broken")
def broken() -> Response:
    """An answer that can't be sent, which the server finds out."""
    return Response("", headers={"X-Broken": "\u2028"})


@application.post("/write/<name>")
def write(name: str) -> dict[str, object]:
    """Note the name in a ledger, once for each time the request arrives."""
    with Path(os.environ["LEDGER"]).open("a", encoding="utf-8") as ledger:
        ledger.write(f"{name}\n")
    return {"written": name}


@application.get("/static/sheet.css")
def sheet() -> Response:
    answer = Response("a{}" * 1000, mimetype="text/css")
    answer.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    answer.headers["X-Request-ID"] = "of-the-first-caller"
    return answer
