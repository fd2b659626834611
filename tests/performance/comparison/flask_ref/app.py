"""The Flask stack as designed, with every lever behind an environment variable so
that each one's gain can be measured alone (value first = the ordinary choice).

    LEVER_DATA      orm | entity | core | one | raw how users are read
    LEVER_DRIVER    psycopg2 | psycopg              SQLAlchemy's driver
    LEVER_TX        tx | auto                       BEGIN/ROLLBACK round trips for reads, or autocommit
    LEVER_RESET     rollback | none                 pool_reset_on_return
    LEVER_JSON      std | orjson                    JSON provider
    LEVER_SERIAL    dict | pydantic | msgspec       how a response body is made
    LEVER_SESSION   login | bearer | null           Flask-Login on bearer routes, or a plain decorator,
                                                    or that and no cookie session under /api and /health
    LEVER_HOOKS     off | on | wsgi                 request id, security headers, JSON access log:
                                                    none, as Flask hooks, as one WSGI wrapper
    LEVER_JWT       decode | cache                  PyJWT each time, or a small TTL cache of verified tokens
    LEVER_COUNT     exact | window | cached         how the list gets its total
    LEVER_POOL      pool size (default 5)

LEVER_DATA: `orm` is naive (Model.query.get, paginate), `entity` uses 2.0 selects with
prebuilt statements, `core` selects only the needed columns through the Core and a
Connection, `one` does the same in a single joined statement a request, `raw` goes past
SQLAlchemy to a psycopg2 cursor from its pool (a limit, not a recommendation).
"""

import collections
import functools
import json
import logging
import os
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta

import argon2
import jwt
from flask import Blueprint, Flask, Response, abort, current_app, g, request
from flask.json.provider import JSONProvider
from flask.sessions import SecureCookieSessionInterface
from flask_login import LoginManager, current_user, login_required
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import bindparam, func, select, update
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import BigInteger, DateTime


def lever(name: str, default: str) -> str:
    return os.environ.get("LEVER_" + name, default)


DATA = lever("DATA", "orm")
DRIVER = lever("DRIVER", "psycopg2")
TX = lever("TX", "tx")
RESET = lever("RESET", "rollback")
JSON = lever("JSON", "std")
SERIAL = lever("SERIAL", "dict")
SESSION = lever("SESSION", "login")
HOOKS = lever("HOOKS", "off")
JWT = lever("JWT", "decode")
COUNT = lever("COUNT", "exact")
POOL = int(lever("POOL", "5"))
SECRET = os.environ["BENCH_SECRET"]


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)


class User(db.Model):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    role: Mapped[str]
    is_active: Mapped[bool]
    password_hash: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), onupdate=lambda: datetime.now(UTC))

    is_authenticated = True
    is_anonymous = False

    def get_id(self) -> str:
        return str(self.id)


FIELDS = ("id", "email", "name", "role", "is_active", "created_at", "updated_at")
T = User.__table__
COLS = [T.c[f] for f in FIELDS]

# ---------------------------------------------------------------- statements
Q_ENTITY = select(User).where(User.id == bindparam("id"))
Q_CORE = select(*COLS).where(T.c.id == bindparam("id"))
Q_AUTH = select(T.c.id, T.c.role, T.c.is_active).where(T.c.id == bindparam("id"))
Q_PAGE = select(*COLS).order_by(T.c.id).limit(bindparam("n")).offset(bindparam("o"))
Q_PAGE_ENTITY = select(User).order_by(User.id).limit(bindparam("n")).offset(bindparam("o"))
Q_COUNT = select(func.count()).select_from(T)
Q_PAGE_WINDOW = (
    select(*COLS, func.count().over().label("total"))
    .order_by(T.c.id)
    .limit(bindparam("n"))
    .offset(bindparam("o"))
)
Q_UPDATE = (
    update(T)
    .where(T.c.id == bindparam("uid"))
    .values(name=bindparam("new_name"), updated_at=func.now())
    .returning(*COLS)
)
_a = T.alias("a")
# One round trip: the authenticated row and the target row in one joined statement.
Q_ONE = (
    select(_a.c.is_active.label("a_active"), _a.c.role.label("a_role"), *COLS)
    .select_from(_a.outerjoin(T, T.c.id == bindparam("id")))
    .where(_a.c.id == bindparam("me"))
)

# ------------------------------------------------------------- serialisation
if SERIAL == "pydantic":
    from pydantic import BaseModel, ConfigDict

    class UserOut(BaseModel):
        model_config = ConfigDict(from_attributes=True)
        id: int
        email: str
        name: str
        role: str
        is_active: bool
        created_at: datetime
        updated_at: datetime

    class PageOut(BaseModel):
        data: list[UserOut]
        page: int
        per_page: int
        total: int

    def user_body(row) -> Response:
        return Response(UserOut.model_validate(row).model_dump_json(), mimetype="application/json")

    def page_body(rows, page, per_page, total) -> Response:
        out = PageOut(
            data=[UserOut.model_validate(r) for r in rows], page=page, per_page=per_page, total=total
        )
        return Response(out.model_dump_json(), mimetype="application/json")

elif SERIAL == "msgspec":
    import msgspec

    class UserOut(msgspec.Struct):
        id: int
        email: str
        name: str
        role: str
        is_active: bool
        created_at: datetime
        updated_at: datetime

    class PageOut(msgspec.Struct):
        data: list[UserOut]
        page: int
        per_page: int
        total: int

    _encode = msgspec.json.Encoder().encode

    def _struct(r) -> UserOut:
        return UserOut(r.id, r.email, r.name, r.role, r.is_active, r.created_at, r.updated_at)

    def user_body(row) -> Response:
        return Response(_encode(_struct(row)), mimetype="application/json")

    def page_body(rows, page, per_page, total) -> Response:
        out = PageOut([_struct(r) for r in rows], page, per_page, total)
        return Response(_encode(out), mimetype="application/json")

else:

    def as_dict(r) -> dict:
        return {
            "id": r.id,
            "email": r.email,
            "name": r.name,
            "role": r.role,
            "is_active": r.is_active,
            "created_at": r.created_at,
            "updated_at": r.updated_at,
        }

    def user_body(row) -> Response:
        return current_app.json.response(as_dict(row))

    def page_body(rows, page, per_page, total) -> Response:
        return current_app.json.response(
            {"data": [as_dict(r) for r in rows], "page": page, "per_page": per_page, "total": total}
        )


if JSON == "orjson":
    import orjson

    class FastJSON(JSONProvider):
        option = orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC

        def dumps(self, obj, **kwargs):
            return orjson.dumps(obj, option=self.option).decode()

        def loads(self, s, **kwargs):
            return orjson.loads(s)

        def response(self, *args, **kwargs):
            obj = self._prepare_response_obj(args, kwargs)
            return current_app.response_class(
                orjson.dumps(obj, option=self.option), mimetype="application/json"
            )


# ------------------------------------------------------------- authentication
_tokens: collections.OrderedDict = collections.OrderedDict()
_tokens_lock = threading.Lock()
_ALGS = ["HS256"]


def verify_token(token: str) -> int | None:
    """The token's subject, or None. With LEVER_JWT=cache a verified token is kept
    for up to 30 s and never beyond its own expiry."""
    if JWT == "cache":
        hit = _tokens.get(token)
        if hit is not None and hit[1] > time.time():
            return hit[0]
    try:
        claims = jwt.decode(token, SECRET, algorithms=_ALGS)
    except jwt.InvalidTokenError:
        return None
    sub = int(claims["sub"])
    if JWT == "cache":
        with _tokens_lock:
            _tokens[token] = (sub, min(claims["exp"], time.time() + 30))
            while len(_tokens) > 10_000:
                _tokens.popitem(last=False)
    return sub


def bearer_subject() -> int:
    header = request.headers.get("Authorization", "")
    sub = verify_token(header[7:]) if header.startswith("Bearer ") else None
    if sub is None:
        abort(401)
    return sub


class RawUser(tuple):
    """A row of a plain cursor with the names the views use."""

    __slots__ = ()
    id, email, name, role, is_active, created_at, updated_at = (
        property(lambda self, i=i: self[i]) for i in range(7)
    )


def raw_user(sql, *params):
    if "raw" not in g:
        g.raw = db.engine.raw_connection()
    cur = g.raw.cursor()
    cur.execute(sql, params)
    row = cur.fetchone()
    cur.close()
    return RawUser(row) if row else None


RAW_USER = "SELECT id, email, name, role, is_active, created_at, updated_at FROM users WHERE id = %s"


def query(stmt, params):
    if DATA in ("core", "one", "raw"):
        if "conn" not in g:
            g.conn = db.engine.connect()
        return g.conn.execute(stmt, params)
    return db.session.execute(stmt, params)


def bearer_required(view):
    if SESSION == "login":
        return login_required(view)

    @functools.wraps(view)
    def wrapper(*args, **kwargs):
        sub = bearer_subject()
        if DATA == "one" and view.__name__ == "get_user":
            g.me = sub
        else:
            if DATA == "orm":
                user = db.session.get(User, sub)
            elif DATA == "entity":
                user = query(Q_ENTITY, {"id": sub}).scalar_one_or_none()
            elif DATA == "raw":
                user = raw_user(RAW_USER, sub)
            else:
                user = query(Q_AUTH, {"id": sub}).first()
            if user is None or not user.is_active:
                abort(401)
            g.user = user
        return view(*args, **kwargs)

    return wrapper


# ---------------------------------------------------------------------- views
api = Blueprint("api", __name__, url_prefix="/api/v1")
hasher = argon2.PasswordHasher()
_count: list = [0.0, 0]


def total_users() -> int:
    if COUNT == "cached":
        if _count[0] < time.monotonic():
            _count[1] = query(Q_COUNT, {}).scalar_one()
            _count[0] = time.monotonic() + 5
        return _count[1]
    return query(Q_COUNT, {}).scalar_one()


@api.post("/auth/login")
def login():
    body = request.get_json()
    user = db.session.execute(select(T.c.id, T.c.password_hash).where(T.c.email == body["email"])).first()
    db.session.remove()  # hand the connection back before the expensive hash
    try:
        hasher.verify(user.password_hash if user else "", body["password"])
    except argon2.exceptions.Argon2Error:
        abort(401)
    claims = {"sub": str(user.id), "exp": datetime.now(UTC) + timedelta(hours=1)}
    return {"access_token": jwt.encode(claims, SECRET, algorithm="HS256"), "token_type": "bearer"}


@api.get("/users/<int:user_id>")
@bearer_required
def get_user(user_id: int):
    if DATA == "orm":
        user = db.session.get(User, user_id)
    elif DATA == "entity":
        user = query(Q_ENTITY, {"id": user_id}).scalar_one_or_none()
    elif DATA == "raw":
        user = raw_user(RAW_USER, user_id)
    elif DATA == "one":
        user = query(Q_ONE, {"id": user_id, "me": g.me}).first()
        if user is None or not user.a_active:
            abort(401)
        if user.id is None:
            abort(404)
    else:
        user = query(Q_CORE, {"id": user_id}).first()
    if user is None:
        abort(404)
    return user_body(user)


@api.get("/users")
@bearer_required
def list_users():
    page = max(1, request.args.get("page", 1, type=int))
    per_page = min(100, max(1, request.args.get("per_page", 20, type=int)))
    params = {"n": per_page, "o": (page - 1) * per_page}
    if DATA == "orm":
        found = db.paginate(select(User).order_by(User.id), page=page, per_page=per_page)
        return page_body(found.items, page, per_page, found.total)
    if COUNT == "window":
        rows = query(Q_PAGE_WINDOW, params).all()
        return page_body(rows, page, per_page, rows[0].total if rows else 0)
    if DATA == "entity":
        rows = query(Q_PAGE_ENTITY, params).scalars().all()
    else:
        rows = query(Q_PAGE, params).all()
    return page_body(rows, page, per_page, total_users())


@api.put("/users/<int:user_id>")
@bearer_required
def put_user(user_id: int):
    name = request.get_json().get("name")
    if not isinstance(name, str) or not 1 <= len(name) <= 120:
        abort(422)
    if DATA in ("orm", "entity"):
        user = db.session.get(User, user_id)
        if user is None:
            abort(404)
        user.name = name
        db.session.commit()
        return user_body(user)
    user = query(Q_UPDATE, {"uid": user_id, "new_name": name}).first()
    if TX != "auto":
        g.conn.commit()
    if user is None:
        abort(404)
    return user_body(user)


# ------------------------------------------------------------- cross-cutting
access_log = logging.getLogger("bench.access")
access_log.propagate = False
access_log.addHandler(logging.StreamHandler(open(os.devnull, "w")))
access_log.setLevel(logging.INFO)
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'",
}


class PagesOnlySessions(SecureCookieSessionInterface):
    """Cookie sessions for pages only: bearer routes and probes get Flask's null session,
    which refuses writes and is never saved."""

    def open_session(self, app, request):
        path = request.environ["PATH_INFO"]
        if path.startswith("/api/") or path == "/health":
            return self.make_null_session(app)
        return super().open_session(app, request)


class HooksMiddleware:
    """Request id, security headers and access log in one WSGI wrapper."""

    def __init__(self, app):
        self.app = app
        self.extra = list(SECURITY.items())

    def __call__(self, environ, start_response):
        began = time.perf_counter()
        rid = environ.get("HTTP_X_REQUEST_ID") or uuid.uuid4().hex
        seen = []

        def start(status, headers, exc_info=None):
            seen.append(status)
            headers.extend(self.extra)
            headers.append(("X-Request-ID", rid))
            return start_response(status, headers, exc_info)

        body = self.app(environ, start)
        access_log.info(
            '{"id":"%s","method":"%s","path":"%s","status":%s,"ms":%.2f}',
            rid,
            environ["REQUEST_METHOD"],
            environ["PATH_INFO"],
            seen[0][:3],
            (time.perf_counter() - began) * 1000,
        )
        return body


def create_app() -> Flask:
    app = Flask(__name__, static_folder=None)
    url = os.environ["BENCH_PG_URL"].replace("postgres://", f"postgresql+{DRIVER}://")
    options: dict = {
        "pool_size": POOL,
        "max_overflow": 0 if POOL > 5 else 10,
        "pool_reset_on_return": None if RESET == "none" else "rollback",
    }
    if TX == "auto":
        options["isolation_level"] = "AUTOCOMMIT"
    app.config.update(SQLALCHEMY_DATABASE_URI=url, SQLALCHEMY_ENGINE_OPTIONS=options, SECRET_KEY=SECRET)
    if JSON == "orjson":
        app.json = FastJSON(app)
    db.init_app(app)

    if SESSION == "login":
        manager = LoginManager(app)

        @manager.request_loader
        def load(req):
            header = req.headers.get("Authorization", "")
            sub = verify_token(header[7:]) if header.startswith("Bearer ") else None
            if sub is None:
                return None
            if DATA == "orm":
                user = db.session.get(User, sub)
            else:
                user = query(Q_ENTITY if DATA == "entity" else Q_AUTH, {"id": sub}).first()
                if DATA == "entity" and user is not None:
                    user = user[0]
            return user if user is not None and user.is_active else None

        @manager.user_loader
        def load_session(user_id):
            return db.session.get(User, int(user_id))

        if DATA in ("core", "one", "raw"):
            raise SystemExit("LEVER_DATA=core|one|raw goes with LEVER_SESSION=bearer|null")

    if SESSION == "null":
        app.session_interface = PagesOnlySessions()

    @app.get("/health")
    def health():
        return {"status": "ok"}

    app.register_blueprint(api)

    @app.teardown_request
    def give_back(exc):
        conn = g.pop("conn", None)
        if conn is not None:
            conn.close()
        raw = g.pop("raw", None)
        if raw is not None:
            raw.close()

    if HOOKS == "on":

        @app.before_request
        def begin():
            g.began = time.perf_counter()
            g.rid = request.headers.get("X-Request-ID") or uuid.uuid4().hex

        @app.after_request
        def finish(response):
            response.headers["X-Request-ID"] = g.rid
            for k, v in SECURITY.items():
                response.headers.setdefault(k, v)
            return response

        @app.after_request
        def log(response):
            access_log.info(
                json.dumps(
                    {
                        "id": g.rid,
                        "method": request.method,
                        "path": request.path,
                        "status": response.status_code,
                        "ms": round((time.perf_counter() - g.began) * 1000, 2),
                    }
                )
            )
            return response

    if HOOKS == "wsgi":
        app.wsgi_app = HooksMiddleware(app.wsgi_app)
    return app
