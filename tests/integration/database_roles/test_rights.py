"""What the app's role may not do in its own database, and who else might (A99)."""

import pytest

from tests.integration.database_roles.conftest import PASSWORD, Split, execute, refusal

pytestmark = [pytest.mark.integration, pytest.mark.real_database]

DENIED = "42501"  # insufficient_privilege
RIGHTS = """
SELECT oid::regclass::text, relacl::text, pg_get_userbyid(relowner) FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S')
UNION ALL SELECT p.oid::regprocedure::text, proacl::text, pg_get_userbyid(proowner) FROM pg_proc AS p
WHERE pronamespace = 'public'::regnamespace AND proname IN ('refuse_change', 'purge_audit_events')
UNION ALL SELECT nspname, nspacl::text, pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'public'
UNION ALL SELECT 'database', datacl::text, pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()
ORDER BY 1
"""


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_events SET action = 'x'",
        "UPDATE audit_events SET details = '{}' WHERE false",
        "DELETE FROM audit_events",
        "SET portico.purging = 'on'; DELETE FROM audit_events",
        "TRUNCATE audit_events",
        "MERGE INTO audit_events AS a USING users AS u ON a.actor_id = u.id WHEN MATCHED THEN DELETE",
        "INSERT INTO audit_events (id, action) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET action = 'x'",
        "SELECT * FROM audit_events FOR UPDATE",
        "ALTER TABLE audit_events DISABLE TRIGGER ALL",
        "ALTER TABLE audit_events DISABLE TRIGGER audit_events_append_only",
        "DROP TRIGGER audit_events_append_only ON audit_events",
        "DROP TRIGGER audit_events_kept ON audit_events",
        "CREATE TRIGGER mine BEFORE INSERT ON audit_events EXECUTE FUNCTION refuse_change()",
        "CREATE RULE mine AS ON INSERT TO audit_events DO INSTEAD NOTHING",
        "ALTER TABLE audit_events OWNER TO CURRENT_USER",
        "GRANT DELETE ON audit_events TO CURRENT_USER; DELETE FROM audit_events",
        "DROP TABLE audit_events",
        "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE sql AS 'SELECT 1'",
        "DROP FUNCTION purge_audit_events(timestamptz, integer)",
        "ALTER FUNCTION purge_audit_events(timestamptz, integer) SET search_path = public",
        "SET session_replication_role = replica",
        "SET SESSION AUTHORIZATION postgres",
        "UPDATE alembic_version SET version_num = '9999'",
        "DELETE FROM alembic_version",
        "TRUNCATE users",
        "CREATE TABLE mine ()",
        "CREATE TEMPORARY TABLE audit_events (id int)",
        "CREATE VIEW mine AS SELECT 1",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE SCHEMA mine",
        "ALTER TABLE users ADD COLUMN mine int",
        "CREATE INDEX mine ON users (name)",
        "DROP INDEX ix_audit_events_action",
        "CREATE ROLE mine",
        "ALTER ROLE CURRENT_USER CREATEROLE",
        "CREATE DATABASE mine",
        "ALTER SYSTEM SET log_statement = 'none'",
        "COPY users TO PROGRAM 'cat'",
        "COPY users FROM '/etc/passwd'",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT * FROM pg_authid",
    ],
)
def test_the_apps_role_is_refused(split: Split, statement: str) -> None:
    assert refusal(split.app, *statement.split("; ")) == DENIED


def test_the_apps_role_can_not_become_the_owner(split: Split) -> None:
    assert refusal(split.app, f'SET ROLE "{split.owner.username}"') == DENIED
    assert refusal(split.app, f'GRANT "{split.owner.username}" TO CURRENT_USER') == DENIED


def test_the_owner_can_change_no_event_either(split: Split) -> None:
    execute(split.app, "INSERT INTO audit_events (action) VALUES ('account:logout')")
    for statement in (
        "UPDATE audit_events SET action = 'x'",
        "DELETE FROM audit_events",
        "TRUNCATE audit_events",
    ):
        assert refusal(split.owner, statement) == DENIED
    assert refusal(split.owner, "SET portico.purging = 'on'", "DELETE FROM audit_events") == DENIED


def test_the_servers_log_bears_no_values_of_what_either_role_says(split: Split) -> None:
    wanted = {"log_error_verbosity": "terse", "log_min_error_statement": "panic", "log_statement": "none"}
    for url in (split.app, split.owner):
        assert {name: execute(url, f"SHOW {name}")[0][0] for name in wanted} == wanted
        assert refusal(url, "SET log_error_verbosity = verbose") == DENIED


def test_a_stranger_sees_nothing(split: Split) -> None:
    stranger = f"{split.app.database}_x"
    execute(split.administrator, f"CREATE ROLE \"{stranger}\" LOGIN PASSWORD 'some password'")
    try:
        with pytest.raises(Exception, match="permission denied for database"):
            execute(split.app.set(username=stranger, password="some password"), "SELECT 1")
    finally:
        execute(split.administrator, f'DROP ROLE "{stranger}"')


def test_tables_of_later_migrations_are_the_apps_to_use(split: Split) -> None:
    execute(
        split.owner,
        "CREATE TABLE later (id bigint GENERATED ALWAYS AS IDENTITY, number bigserial, name text)",
    )
    for statement in (
        "INSERT INTO later (name) VALUES ('a')",
        "UPDATE later SET name = 'b'",
        "DELETE FROM later",
    ):
        assert refusal(split.app, statement) is None
    assert refusal(split.app, "TRUNCATE later") == DENIED
    execute(split.owner, "DROP TABLE later")


def test_a_database_with_one_role_comes_to_the_same_state(roles: Split, split: Split) -> None:
    roles.take()
    assert execute(roles.administrator, RIGHTS) == execute(split.administrator, RIGHTS)
    assert refusal(roles.app, "DELETE FROM audit_events") == DENIED


def test_running_it_again_changes_nothing_and_asks_for_no_password(split: Split) -> None:
    before = execute(split.administrator, RIGHTS)
    execute(
        split.administrator, f'GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC, "{split.app.username}"'
    )
    done = split.run()
    assert (done.returncode, done.stderr) == (0, "")
    assert execute(split.administrator, RIGHTS) == before
    assert split.app.password == PASSWORD
    assert execute(split.app, "SELECT 1") == [(1,)]


@pytest.mark.parametrize("might", ["SUPERUSER", "CREATEROLE", "BYPASSRLS"])
def test_an_app_that_could_switch_rules_off_is_refused(split: Split, might: str) -> None:
    name = split.app.username
    execute(split.administrator, f'ALTER ROLE "{name}" {might}')
    try:
        done = split.run()
        assert done.returncode != 0
        assert "special attributes" in done.stderr
    finally:
        execute(split.administrator, f'ALTER ROLE "{name}" NO{might}')


def test_an_app_that_is_a_member_of_the_owner_is_refused(split: Split) -> None:
    owner, app = split.owner.username, split.app.username
    execute(split.administrator, f'GRANT "{owner}" TO "{app}"')
    try:
        assert "member of the owner" in split.run().stderr
    finally:
        execute(split.administrator, f'REVOKE "{owner}" FROM "{app}"')
