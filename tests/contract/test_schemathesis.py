"""The API keeps its document's word: thousands of generated calls, by the four kinds of callers there are.

`CONTRACT_EXAMPLES=500 CONTRACT_SEED=… pytest tests/contract` goes deeper; the seed is fixed so that a failure stays.
"""

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import strategies as st
from schemathesis import Case, CheckContext, HookContext, Response
from schemathesis.auths import AuthContext, AuthProvider
from schemathesis.engine import events, from_schema
from schemathesis.transport.wsgi import WSGI_TRANSPORT

from app import create_app
from localdb.testing import Databases
from models import User, db
from services.base_service import unit_of_work
from services.session_service import start_api
from tests.conftest import POOL, dispose
from tests.factories import make_person

EXAMPLES = int(os.environ.get("CONTRACT_EXAMPLES", "20"))
#: Generous by default, for machines with other things to do; the API itself answers within two.
SECONDS = float(os.environ.get("CONTRACT_SECONDS", "5"))
SEED = int(os.environ.get("CONTRACT_SEED", "20261120"))
DOCUMENT = "/api/v1/openapi.json"
IDENTITIES = ("nobody", "member", "editor", "admin")
#: What the document can't say of a value: only the database, a clock or a word list knows. Error and fault codes.
FOUND_BY_LOOKING = {"WEAK_PASSWORD", "IDEMPOTENCY_MISMATCH"}
FAULTS_FOUND_BY_LOOKING = {"unknown_role", "wrong_code", "past", "unknown_scope", "cursor", "sort"}
FAULTS_FOUND_BY_LOOKING |= {
    "not_a_picture",
    "too_many_pixels",
    "too_complex",
    "unusual",
    "no_file",
    "invisible",
}
CONFIG: dict[str, Any] = {
    "seed": SEED,
    "generation": {"max-examples": EXAMPLES, "mode": "all", "deterministic": True},
    "workers": 1,
    "auth": {"auto-signup": False},
    "continue-on-failure": True,
    "checks": {
        "enabled": True,
        "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx"]},
        "negative_data_rejection": {
            "expected-statuses": ["400", "401", "403", "404", "405", "409", "410", "412", "415", "422"]
        },
        "positive_data_acceptance": {
            "enabled": False
        },  # ours below knows which 422 is about the value's form
        "max_response_time": SECONDS,
    },
}


def identity_of(app: Flask, role: str) -> type[AuthProvider[str]]:
    """Bearer tokens of somebody with a role; of somebody new when he was deleted, demoted or suspended."""
    people = [make_person(app, "Caller", role=role)]

    class Identity:
        def get(self, case: Case[Any], context: AuthContext) -> str:
            del case, context
            with app.app_context():
                user = db.session.get(User, people[-1].id)
                is_usable = user is not None and user.is_active and user.role == role
            if not is_usable:
                people.append(make_person(app, "Caller", role=role))
            with app.app_context(), unit_of_work():
                return start_api(db.session.get_one(User, people[-1].id), "contract").access_token

        def set(self, case: Case[Any], data: str, context: AuthContext) -> None:
            del context
            case.headers["Authorization"] = f"Bearer {data}"

    return Identity


@schemathesis.check
def valid_data_is_not_called_invalid(ctx: CheckContext, response: Response, case: Case[Any]) -> None:
    """422 for a value that fits its schema would mean that the document and the validator disagree."""
    del ctx
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code != 422:
        return
    error = response.json()["error"]
    faults = {fault["code"] for fault in error.get("details", {}).get("errors", [])}
    assert error["code"] in FOUND_BY_LOOKING or (faults and faults <= FAULTS_FOUND_BY_LOOKING), error


@pytest.fixture(scope="module")
def contract_app(test_databases: Databases) -> Iterator[Flask]:
    """The application on a fresh database, without rate limits."""
    with test_databases.fresh_database("contract") as url:
        app = create_app("testing", DATABASE_URL=url, RATELIMIT_ENABLED=False, **POOL)
        make_person(app, "Ada Okonkwo", role="admin")
        yield app
        dispose(app)


@pytest.fixture(scope="module", autouse=True)
def formats() -> None:
    """Addresses as people have them; `format: email` would also allow quoted and reserved ones."""
    name = st.from_regex(r"[a-z][a-z0-9]{0,20}([.+_-][a-z0-9]{1,10})?", fullmatch=True)
    schemathesis.openapi.format("email", st.builds("{}@{}.com".format, name, st.sampled_from(["a", "b"])))


@pytest.fixture(autouse=True)
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Schemathesis 4.32 hands settings of sockets to the WSGI client when it tries a call without its token."""
    send = WSGI_TRANSPORT.send

    def without_sockets(case: Case[Any], **settings: Any) -> Response:
        for name in ("max_redirects", "verify", "cert", "proxies"):
            settings.pop(name, None)
        return send(case, **settings)

    monkeypatch.setattr(WSGI_TRANSPORT, "send", without_sockets)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("identity", IDENTITIES)
def test_the_api_keeps_its_documents_word(contract_app: Flask, identity: str) -> None:
    found = faults_of(contract_app, identity)
    assert not found, "\n\n".join(f"{place}\n{what}" for place, what in sorted(found.items()))


@pytest.mark.slow
def test_a_broken_word_would_be_noticed(contract_app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is not as documented, and one that asks for no token: both must be found."""
    document = contract_app.test_client().get(DOCUMENT)
    assert document.status_code == 200  # made before the views are exchanged
    monkeypatch.setitem(
        contract_app.view_functions, "api_system.read_status", lambda: {"success": True, "data": 1}
    )
    monkeypatch.setitem(
        contract_app.view_functions, "api_roles.list_permissions", lambda: {"success": True, "data": []}
    )
    found = {
        fault.split(": ")[1] for fault in faults_of(contract_app, "admin", only="/(status|permissions)$")
    }
    assert {"response_schema_conformance", "ignored_auth"} <= found


def plain_numbers(context: HookContext, query: dict[str, Any] | None) -> dict[str, Any] | None:
    """`60.0` is a whole number in JSON, but a query is text, where it is spelled `60` and nothing else."""
    del context
    return query and {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in query.items()
    }


def faults_of(app: Flask, identity: str, *, only: str = "") -> dict[str, str]:
    """What the calls of this identity brought to light: where, which check and what, with a curl that repeats it."""
    schema: schemathesis.BaseSchema = schemathesis.openapi.from_wsgi(
        DOCUMENT, app, config=schemathesis.Config.from_dict(CONFIG)
    )
    schema.hook("map_query")(plain_numbers)
    if only:
        schema = schema.include(path_regex=only)
    if identity != "nobody":
        schema.auth(refresh_interval=None)(identity_of(app, identity))
    found: dict[str, str] = {}
    calls: Counter[str] = Counter()
    for event in from_schema(schema).execute():
        if isinstance(event, events.FatalError):
            raise event.exception
        if isinstance(event, events.NonFatalError):
            found[f"{event.label}: error"] = repr(event.value)
        if isinstance(event, events.ScenarioFinished):
            calls[event.phase.value] += len(event.recorder.cases)
            found |= _failures(event)
    assert calls.keys() >= {"coverage", "fuzzing"}, calls
    return found


def _failures(event: events.ScenarioFinished) -> dict[str, str]:
    return {
        f"{event.label}: {node.name}: {node.failure_info.failure.title}": (
            f"{node.failure_info.failure.message}\n{node.failure_info.code_sample}"
        )
        for nodes in event.recorder.checks.values()
        for node in nodes
        if node.failure_info is not None
    }
