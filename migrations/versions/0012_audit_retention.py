"""Let old audit events go, through one function; everybody else goes on being refused.

Revision ID: 0012
Revises: 0011
"""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

REFUSE_ALL = """
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit_events is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$
"""
# The setting alone is not enough: anybody may set it, but only the function runs as the table's owner for the app.
# Where the app's role is the owner, the age still counts: what is young can't be deleted by any statement.
REFUSE_ALL_BUT_THE_PURGE = """
CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE'
        AND current_setting('portico.purging', true) = 'on'
        AND current_user = (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = TG_RELID)
    THEN
        IF TG_LEVEL = 'STATEMENT' THEN
            RETURN NULL;
        ELSIF OLD.created_at < now() - interval '90 days' THEN
            RETURN OLD;
        END IF;
    END IF;
    RAISE EXCEPTION 'audit_events is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$
"""
PURGE = """
CREATE FUNCTION purge_audit_events(before timestamptz, at_most integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    deleted integer;
BEGIN
    IF before IS NULL OR before > now() - interval '90 days' THEN
        RAISE EXCEPTION 'audit events are kept for 90 days at least' USING ERRCODE = 'insufficient_privilege';
    END IF;
    PERFORM set_config('portico.purging', 'on', true);
    DELETE FROM public.audit_events WHERE id IN (
        SELECT id FROM public.audit_events WHERE created_at < before
        ORDER BY created_at, id LIMIT at_most FOR UPDATE SKIP LOCKED
    );
    GET DIAGNOSTICS deleted = ROW_COUNT;
    PERFORM set_config('portico.purging', 'off', true);
    IF deleted > 0 THEN
        INSERT INTO public.audit_events (action, details)
        VALUES ('audit:purge', jsonb_build_object('count', deleted, 'before', before));
    END IF;
    RETURN deleted;
END
$$
"""
# Where roles are apart already (deploy/postgres/roles.sql): who may add events may have old ones removed, and no more.
NARROW = """
DO $$
DECLARE
    holder text;
BEGIN
    REVOKE ALL ON FUNCTION purge_audit_events(timestamptz, integer) FROM PUBLIC;
    FOR holder IN
        SELECT DISTINCT quote_ident(pg_get_userbyid(acl.grantee))
        FROM pg_class AS c, aclexplode(c.relacl) AS acl
        WHERE c.oid = 'audit_events'::regclass AND acl.privilege_type = 'INSERT' AND acl.grantee NOT IN (0, c.relowner)
    LOOP
        EXECUTE 'REVOKE UPDATE, DELETE, TRUNCATE, TRIGGER, REFERENCES ON audit_events FROM ' || holder;
        EXECUTE 'REVOKE INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER, REFERENCES ON alembic_version FROM ' || holder;
        EXECUTE 'GRANT EXECUTE ON FUNCTION purge_audit_events(timestamptz, integer) TO ' || holder;
    END LOOP;
END
$$
"""


def upgrade() -> None:
    op.execute(REFUSE_ALL_BUT_THE_PURGE)
    op.execute(
        "CREATE TRIGGER audit_events_kept BEFORE DELETE ON audit_events"
        " FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(PURGE)
    op.execute(NARROW)


def downgrade() -> None:
    op.execute("DROP FUNCTION purge_audit_events(timestamptz, integer)")
    op.execute("DROP TRIGGER audit_events_kept ON audit_events")
    op.execute(REFUSE_ALL)
