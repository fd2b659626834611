"""The files that deploy Portico parse, agree with one another and keep what docs/deployment.md promises."""

import json
import logging
import os
import re
import runpy
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from gunicorn.config import Config
from gunicorn.http import wsgi

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[2]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


# ---- gunicorn.conf.py


class Loaded:
    """gunicorn.conf.py as gunicorn would take it in some environment."""

    def __init__(self, names: dict[str, Any], environ: dict[str, str]) -> None:
        self.names = names
        self.environ = environ
        self.config = Config()
        for name, value in names.items():
            if name in self.config.settings:
                self.config.set(name, value)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Load the file with the given variables and no others."""

    def loaded(**variables: str) -> Loaded:
        monkeypatch.setattr(os, "environ", dict(variables))
        monkeypatch.setattr(wsgi, "SERVER", wsgi.SERVER)
        return Loaded(runpy.run_path(str(ROOT / "gunicorn.conf.py")), dict(os.environ))

    return loaded


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        ({}, "127.0.0.1:5000"),
        ({"FLASK_PORT": "5050"}, "127.0.0.1:5050"),
        ({"FLASK_PORT": "5050", "PORT": "8000", "FLASK_HOST": "0.0.0.0"}, "0.0.0.0:8000"),
        ({"FLASK_HOST": "::", "PORT": "8000"}, "[::]:8000"),
        ({"PORT": "8000", "GUNICORN_BIND": "unix:/run/web.sock"}, "unix:/run/web.sock"),
    ],
)
def test_address_follows_the_variables(load: Any, variables: dict[str, str], address: str) -> None:
    assert load(**variables).config.bind == [address]


def test_size_follows_the_machine(load: Any) -> None:
    loaded = load()
    assert loaded.config.workers == loaded.names["_cores"]()
    assert loaded.config.threads == 4


@pytest.mark.parametrize(
    ("limit", "cores"), [("50000 100000", 1), ("100000 100000", 1), ("max 100000", None)]
)
def test_a_containers_cpu_limit_counts(load: Any, tmp_path: Path, limit: str, cores: int | None) -> None:
    quota = tmp_path / "cpu.max"
    quota.write_text(f"{limit}\n", encoding="ascii")
    count = load().names["_cores"]
    assert count(str(quota)) == (cores or count("/nowhere"))


def test_pool_has_one_connection_a_thread(load: Any) -> None:
    environ = load(GUNICORN_THREADS="8").environ
    assert (environ["SQLALCHEMY_POOL_SIZE"], environ["SQLALCHEMY_MAX_OVERFLOW"]) == ("8", "0")
    assert float(environ["SQLALCHEMY_POOL_TIMEOUT"]) <= 3


def test_pool_size_of_the_operator_wins(load: Any) -> None:
    assert load(SQLALCHEMY_POOL_SIZE="12", GUNICORN_THREADS="8").environ["SQLALCHEMY_POOL_SIZE"] == "12"


@pytest.mark.parametrize("value", ["0", "many", "-1", "2.5"])
def test_wrong_number_is_refused_by_name_and_without_its_value(load: Any, value: str) -> None:
    with pytest.raises(SystemExit) as refusal:
        load(GUNICORN_WORKERS=value)
    assert "GUNICORN_WORKERS" in str(refusal.value)
    assert value not in str(refusal.value).replace("from 1", "")


def test_requests_are_limited(load: Any) -> None:
    config = load().config
    limits = (config.limit_request_line, config.limit_request_fields, config.limit_request_field_size)
    assert limits == (4094, 50, 8190)
    assert config.header_map == "drop"
    assert config.forwarder_headers == []


def test_forwarded_headers_are_believed_from_named_proxies_only(load: Any) -> None:
    assert load().config.forwarded_allow_ips == []
    assert load(TRUSTED_PROXIES="10.0.0.1,10.1.0.0/16").config.forwarded_allow_ips == [
        "10.0.0.1",
        "10.1.0.0/16",
    ]


@pytest.mark.parametrize("seconds", [0, 5, 20])
def test_stopping_takes_thirty_seconds_at_most(load: Any, seconds: int) -> None:
    loaded = load(GUNICORN_DRAIN_SECONDS=str(seconds))
    assert loaded.names["drain_seconds"] + loaded.config.graceful_timeout <= 30


def test_process_fits_a_read_only_container(load: Any) -> None:
    config = load().config
    assert config.control_socket_disable
    assert config.accesslog is None
    assert config.preload_app


def test_server_is_not_named(load: Any) -> None:
    load()
    assert wsgi.SERVER == "web"


def test_log_line_is_one_json_object_whatever_it_says(load: Any) -> None:
    record = logging.makeLogRecord({"msg": 'a\nb\x1b[31m\u2028"}{', "levelname": "WARNING"})
    line = load().names["JsonLines"]().format(record)
    assert line.isprintable()
    assert json.loads(line)["event"] == 'a\nb\x1b[31m\u2028"}{'


def test_text_is_for_development_and_json_for_everything_else(load: Any) -> None:
    assert "logconfig_dict" not in load().names
    assert "logconfig_dict" in load(FLASK_CONFIG="production").names
    assert "logconfig_dict" in load(FLASK_CONFIG="staging").names
    assert "logconfig_dict" not in load(FLASK_CONFIG="production", LOG_FORMAT="text").names


# ---- the image


def stages() -> list[list[str]]:
    """The Dockerfile's instructions, one list a stage, continued lines joined, comments gone."""
    text = re.sub(r"^#.*\n", "", read("Dockerfile"), flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    starts = [number for number, line in enumerate(lines) if line.startswith("FROM ")]
    return [lines[start:end] for start, end in zip(starts, [*starts[1:], len(lines)], strict=True)]


def test_image_runs_as_a_numbered_user_that_is_not_root() -> None:
    users = [line.split()[1] for line in stages()[-1] if line.startswith("USER ")]
    assert users[-1] == "10001:10001"


def test_image_holds_no_build_tools_and_installs_by_hash() -> None:
    build, final = (" ".join(stage) for stage in stages())
    assert "--require-hashes" in build
    assert "--only-binary :all:" in build
    assert not re.search(r"apt-get|apk |pip install|gcc|COPY \. ", final)


def test_image_asks_health_only_and_starts_gunicorn() -> None:
    final = stages()[-1]
    check = next(line for line in final if line.startswith("HEALTHCHECK"))
    assert "/health'" in check
    assert "python" in check
    assert final[-1] == 'CMD ["gunicorn", "app:application"]'
    assert any("FLASK_CONFIG=production" in line for line in final)


def test_image_holds_what_the_app_needs_and_nothing_else() -> None:
    lines = [line for line in read(".dockerignore").splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    let_in = {line[1:] for line in lines if line.startswith("!")}
    folders = {"blueprints", "localdb", "migrations", "models", "services", "static", "templates"}
    assert let_in == folders | {"*.py", "requirements.txt", "LICENSE"}
    assert {"**/.*", "**/__pycache__"} <= set(lines)


def test_every_lock_is_hashed() -> None:
    pinned = re.findall(
        r"^[a-z0-9][^\n]*==.*?(?=^\S|\Z)", read("requirements.txt"), flags=re.MULTILINE | re.DOTALL
    )
    assert len(pinned) > 30
    assert all("--hash=sha256:" in block for block in pinned)


# ---- compose


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(read("docker-compose.yml"))
    return loaded


def test_compose_has_every_part(compose: dict[str, Any]) -> None:
    assert {"web", "worker", "migrate", "database", "nginx", "redis", "mail"} == set(compose["services"])
    optional = {name for name, service in compose["services"].items() if "profiles" in service}
    assert optional == {"redis", "mail"}


def test_every_container_is_hardened_and_limited(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert {"cpus", "memory", "pids"} <= set(service["deploy"]["resources"]["limits"]), name


def test_only_nginx_has_a_port_for_others(compose: dict[str, Any]) -> None:
    ports = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert set(ports) == {"nginx", "mail"}
    assert all(port.startswith("127.0.0.1:") for port in ports["mail"])


def test_web_starts_after_migrations_on_a_healthy_database(compose: dict[str, Any]) -> None:
    for name in ("web", "worker"):
        assert compose["services"][name]["depends_on"] == {
            "database": {"condition": "service_healthy"},
            "migrate": {"condition": "service_completed_successfully"},
        }


def test_secrets_come_from_files_that_one_command_makes(compose: dict[str, Any], tmp_path: Path) -> None:
    subprocess.run(
        ["sh", str(ROOT / "deploy/make-secrets.sh"), "portico.test", str(tmp_path)],
        check=True,
        capture_output=True,
    )
    wanted = {Path(secret["file"]).name for secret in compose["secrets"].values()}
    assert {path.name for path in tmp_path.iterdir()} == wanted
    assert (tmp_path / "database_password").read_text().strip() in (tmp_path / "database_url").read_text()
    for name, service in compose["services"].items():
        for variable, value in service.get("environment", {}).items():
            is_secret = re.search("PASSWORD|SECRET|TOKEN|_KEY|DATABASE_URL", variable)
            assert not is_secret or str(value).startswith("/run/secrets/"), f"{name}: {variable}"


def test_only_migrations_know_the_role_that_owns_the_tables(compose: dict[str, Any]) -> None:
    holders = {
        name for name, service in compose["services"].items() if "owner" in str(service.get("secrets"))
    }
    assert holders == {"migrate", "database"}
    services = compose["services"]
    assert services["migrate"]["environment"]["DATABASE_URL_FILE"] == "/run/secrets/database_owner_url"
    assert services["migrate"]["environment"] | {"DATABASE_URL_FILE": ""} == services["web"][
        "environment"
    ] | {"DATABASE_URL_FILE": ""}
    assert (
        "./deploy/postgres/roles.sql:/usr/local/share/portico/roles.sql:ro" in services["database"]["volumes"]
    )


def test_made_secrets_differ_and_stay(tmp_path: Path) -> None:
    command = ["sh", str(ROOT / "deploy/make-secrets.sh"), "portico.test", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    subprocess.run(command, check=True, capture_output=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first
    assert len(set(first.values())) == len(first)
    assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_app_believes_nginx_and_nobody_else(compose: dict[str, Any]) -> None:
    services = compose["services"]
    nginx = services["nginx"]["networks"]["front"]["ipv4_address"]
    web = services["web"]["networks"]["front"]["ipv4_address"]
    assert services["web"]["environment"]["TRUSTED_PROXIES"] == nginx
    assert services["nginx"]["environment"]["PORTICO_UPSTREAM"] == f"{web}:8000"


def test_nginx_is_given_every_variable_of_its_template(compose: dict[str, Any]) -> None:
    used = set(re.findall(r"\$\{(PORTICO_[A-Z_]+)\}", read("deploy/nginx/portico.conf.template")))
    given = {name for name in compose["services"]["nginx"]["environment"] if name.startswith("PORTICO_")}
    assert used == given


# ---- agreements between the files


def test_upstream_connections_end_at_nginx_before_gunicorn_ends_them(load: Any) -> None:
    template = read("deploy/nginx/portico.conf.template")
    upstream = template[template.index("upstream portico") :]
    found = re.search(r"keepalive_timeout (\d+)s", upstream)
    assert found is not None
    assert int(found[1]) < load().config.keepalive


def test_stop_is_waited_for(load: Any, compose: dict[str, Any]) -> None:
    longest = load().config.graceful_timeout
    assert int(compose["services"]["web"]["stop_grace_period"].removesuffix("s")) > longest
    found = re.search(r"TimeoutStopSec=(\d+)", read("deploy/systemd/portico.service"))
    assert found is not None
    assert int(found[1]) > longest


def test_service_manager_stops_the_master_alone() -> None:
    unit = read("deploy/systemd/portico.service")
    for line in ("Type=notify", "NotifyAccess=all", "KillMode=mixed", "ExecReload=/bin/kill -USR2 $MAINPID"):
        assert line in unit.splitlines()


# ---- continuous integration


@pytest.fixture(scope="module")
def workflow() -> dict[Any, Any]:
    loaded: dict[Any, Any] = yaml.safe_load(read(".github/workflows/ci.yml"))
    return loaded


def test_workflow_may_only_read(workflow: dict[Any, Any]) -> None:
    assert workflow["permissions"] == {"contents": "read"}
    assert all("permissions" not in job for job in workflow["jobs"].values())
    assert workflow["concurrency"]["cancel-in-progress"]


def test_workflow_covers_the_oldest_and_the_reference_python(workflow: dict[Any, Any]) -> None:
    pythons = {
        version
        for job in workflow["jobs"].values()
        for version in job.get("strategy", {}).get("matrix", {}).get("python", [])
    }
    assert pythons == {"3.11", "3.13"}


def test_nginx_keeps_nothing_but_static_files() -> None:
    """What knew somebody's session must not be given to somebody else (A38)."""
    before, *after = re.split(
        r"^\s*proxy_cache\s", read("deploy/nginx/portico.conf.template"), flags=re.MULTILINE
    )
    assert len(after) == 1
    assert before.rpartition("location ")[2].startswith("^~ /static/ {")
