"""The code as a whole: who imports whom, who may use which address, and promises that every file keeps."""

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from flask import Flask
from pydantic import BaseModel

import services.schemas
from blueprints import _modules
from blueprints.http.errors import STATUS, status_of
from config import VERSION
from models import db
from services import errors
from services.audit_service import ACTIONS
from services.permissions import BUILT_IN_ROLES, PERMISSIONS
from services.schemas.base import In

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("blueprints", "services", "models")
#: Programs of an environment of their own, which others are measured by.
COMPARED = ROOT / "tests" / "performance" / "comparison"
#: The file → what it may import though its room may not.
DOORS = {"services/worker.py": {"app"}}


def sources(*rooms: str) -> list[Path]:
    return [path for room in rooms for path in sorted((ROOT / room).rglob("*.py"))]


def imported(path: Path) -> Iterator[tuple[str, int, bool]]:
    """Every imported module with its line, and whether that is at the top of the file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = {id(node) for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)}
    inner = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    for node in ast.walk(tree):
        if id(node) not in top:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno, id(node) not in inner
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno, id(node) not in inner


def where(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


@pytest.mark.parametrize(
    ("room", "forbidden"),
    [
        ("models", ("blueprints", "services", "app", "config", "extensions", "localdb", "flask.request")),
        (
            "services",
            ("blueprints", "app", "config", "extensions", "localdb", "flask.request", "flask.session"),
        ),
        ("services", ("flask.g", "flask.abort", "flask.jsonify", "flask.flash", "flask.render_template")),
        ("services/schemas", ("services.", "models.", "flask", "sqlalchemy")),
        ("blueprints", ("models", "sqlalchemy", "app", "config", "localdb")),
    ],
)
def test_rooms_call_downward_only(room: str, forbidden: tuple[str, ...]) -> None:
    allowed = (
        "services.schemas",
        "services.errors",
        "services.permissions",
        "models.enums",
        "models.base.now",
    )
    found = []
    for path in sources(room):
        doors = DOORS.get(str(path.relative_to(ROOT)), set())
        for module, line, _ in imported(path):
            broken = any(
                module == name.rstrip(".") or module.startswith(f"{name.rstrip('.')}.") for name in forbidden
            )
            if room == "services/schemas" and module.startswith(allowed):
                continue
            if module.startswith("sqlalchemy.exc") and path.name == "errors.py":
                continue  # a dead database is told by its exceptions
            if broken and module.split(".")[0] not in doors:
                found.append(f"{where(path, line)} imports {module}")
    assert not found


def test_services_errors_import_nothing_of_ours() -> None:
    ours = {"blueprints", "services", "models", "app", "config", "extensions", "localdb"}
    found = [
        f"{where(path, line)} imports {module}"
        for path in sources("services/errors")
        for module, line, _ in imported(path)
        if module.split(".")[0] in ours and not module.startswith("services.errors")
    ]
    assert not found


def test_blueprints_import_no_other_blueprint() -> None:
    found = [
        f"{where(path, line)} imports {module}"
        for path in sources("blueprints")
        for module, line, _ in imported(path)
        if module.startswith("blueprints.") and not module.startswith("blueprints.http")
        if path.parent.name not in {"http"} and not _same_folder(path, module)
    ]
    assert not found


def _same_folder(path: Path, module: str) -> bool:
    folder = ".".join(path.relative_to(ROOT).parent.parts)
    return folder != "blueprints" and module.startswith(f"{folder}.")


def test_no_import_stands_inside_a_function() -> None:
    found = [
        where(path, line)
        for path in [*sources(*ROOMS), ROOT / "app.py", ROOT / "config.py"]
        for _, line, at_top in imported(path)
        if not at_top
    ]
    assert not found


def test_migrations_import_nothing_of_ours() -> None:
    ours = {"blueprints", "services", "models", "app", "config"}
    found = [
        where(path, line)
        for path in sources("migrations/versions")
        for module, line, _ in imported(path)
        if module.split(".")[0] in ours
    ]
    assert not found


def test_only_the_unit_of_work_commits_and_rolls_back() -> None:
    found = [
        where(path, node.lineno)
        for path in sources(*ROOMS)
        if path.name != "base_service.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in {"commit", "rollback"}
        if "session" in ast.unparse(node.value)
    ]
    assert not found


def test_nobody_asks_the_clock_but_models_base() -> None:
    asks = re.compile(r"datetime\.(now|utcnow|today)\(|date\.today\(")
    found = [
        f"{path.relative_to(ROOT)}"
        for path in sources(*ROOMS)
        if path != ROOT / "models" / "base.py" and asks.search(path.read_text(encoding="utf-8"))
    ]
    assert not found


def test_files_stay_under_four_hundred_lines() -> None:
    longest = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in [*sources(*ROOMS, "localdb", "tests"), *ROOT.glob("*.py")]
        if not path.is_relative_to(COMPARED)
    }
    assert not {name: lines for name, lines in longest.items() if lines > 400}


def test_public_functions_promise_something() -> None:
    found = []
    for path in [*sources(*ROOMS, "localdb"), ROOT / "app.py", ROOT / "config.py"]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if not ast.get_docstring(tree):
            found.append(f"{path.relative_to(ROOT)} has no docstring")
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
                continue
            if not ast.get_docstring(node):
                found.append(f"{where(path, node.lineno)} {node.name}")
    assert not found


def test_templates_never_trust_data() -> None:
    found = [
        str(path.relative_to(ROOT))
        for path in (ROOT / "templates").rglob("*.html")
        if re.search(r"\|\s*safe\b|autoescape\s+false", path.read_text(encoding="utf-8"))
    ]
    assert not found


def test_nothing_evaluates_or_deserialises_what_it_is_given() -> None:
    dangerous = re.compile(r"\b(eval|exec|render_template_string)\(|\bpickle\b|yaml\.load\(|shell=True")
    found = [
        str(path.relative_to(ROOT))
        for path in [*sources(*ROOMS), *ROOT.glob("*.py")]
        if dangerous.search(path.read_text(encoding="utf-8"))
    ]
    assert not found


def test_templates_and_styles_load_nothing_from_elsewhere() -> None:
    outside = re.compile(r"""(src|href|url)\s*[=(]\s*["']?(https?:)?//""")
    found = [
        str(path.relative_to(ROOT))
        for folder in ("templates", "static")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".html", ".css", ".js", ".svg"} and "emails" not in path.parts
        if outside.search(path.read_text(encoding="utf-8"))
    ]
    assert not found


def test_every_view_says_who_may_use_it(shared_app: Flask) -> None:
    open_views = [
        rule.endpoint
        for rule in shared_app.url_map.iter_rules()
        if rule.endpoint != "static"
        if not hasattr(shared_app.view_functions[rule.endpoint], "access")
    ]
    assert not open_views


def test_every_api_view_has_a_contract_and_a_summary(shared_app: Flask) -> None:
    views: dict[str, Any] = {
        rule.endpoint: shared_app.view_functions[rule.endpoint]
        for rule in shared_app.url_map.iter_rules()
        if rule.rule.startswith("/api/v1/") and not rule.endpoint.startswith("docs.")
    }
    assert views
    assert not [name for name, view in views.items() if not view.contract.summary.endswith(".")]


def test_every_error_has_a_status_and_words() -> None:
    for error in errors.every_error():
        assert status_of(error) in STATUS.values()
        assert error.title
        assert error.default_message.endswith(".")
        assert error.remedy.endswith(".")


def test_every_permission_of_a_role_exists() -> None:
    for _, permissions in BUILT_IN_ROLES.values():
        assert set(permissions) <= set(PERMISSIONS)


def test_every_recorded_action_is_in_the_vocabulary() -> None:
    recorded = set()
    for path in sources("services", "blueprints"):
        recorded |= set(
            re.findall(
                r'"((?:account|audit|mail|role|security)(?::[a-z_]+)+)"', path.read_text(encoding="utf-8")
            )
        )
    recorded -= {name for name in recorded if name in PERMISSIONS}
    assert recorded <= set(ACTIONS)
    assert set(ACTIONS) <= recorded


def test_input_schemas_use_guarded_text_only() -> None:
    """A bare `str` would let NUL and control characters through to the database and to mail headers."""
    found = []
    for schema in _schemas(In):
        for name, field in schema.model_fields.items():
            if _is_bare_text(field.annotation, field.metadata):
                found.append(f"{schema.__name__}.{name}")
    assert not found


def _schemas(kind: type[BaseModel]) -> Iterator[type[BaseModel]]:
    list(_modules(services.schemas))
    for schema in kind.__subclasses__():
        yield schema
        yield from _schemas(schema)


def _is_bare_text(annotation: Any, metadata: list[Any]) -> bool:
    if annotation is str:
        return not metadata
    if get_origin(annotation) is None:
        return False
    return any(
        _is_bare_text(part, list(getattr(part, "__metadata__", metadata))) for part in get_args(annotation)
    )


def test_the_version_is_said_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["version"] == VERSION


def test_every_table_names_its_constraints() -> None:
    for table in db.metadata.sorted_tables:
        assert all(constraint.name for constraint in table.constraints), table.name
