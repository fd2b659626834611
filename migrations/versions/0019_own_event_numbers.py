"""Number each person's own events, and name identities by UUIDs: no shared sequence is shown any more.

And find an account with a password for an address that has none, to take as long (docs/security/throttling.md).

Revision ID: 0019
Revises: 0018

Each step may be repeated: what an earlier try has done stays, since it committed in between.
"""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

# Numbers are given by the database, so that whoever writes an event gets one in the same statement: this code, the code
# that still runs while this migrates, and a hand at psql. Only whose account exists has a count, and nobody else asks.
# A first event counts what was there before there were numbers, which NUMBER_THE_OLD numbers from 1 on.
GIVE_NUMBER = """
CREATE OR REPLACE FUNCTION number_audit_event() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    NEW.number := NULL;
    IF NEW.target_id IS NULL THEN
        RETURN NEW;
    END IF;
    UPDATE public.event_numbers SET latest = latest + 1 WHERE user_id = NEW.target_id RETURNING latest INTO NEW.number;
    IF NOT FOUND THEN
        INSERT INTO public.event_numbers AS known (user_id, latest)
        SELECT u.id, 1 + (
            SELECT greatest(count(*), max(e.number)) FROM public.audit_events AS e WHERE e.target_id = u.id
        ) FROM public.users AS u WHERE u.id = NEW.target_id FOR KEY SHARE
        ON CONFLICT (user_id) DO UPDATE SET latest = known.latest + 1
        RETURNING latest INTO NEW.number;
    END IF;
    RETURN NEW;
END
$$
"""
REFUSE = """
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
    %s
    RAISE EXCEPTION 'audit_events is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$
"""
# Until the old events have their numbers, the owner may add one where there is none, and change nothing else.
BUT_FOR_NUMBERS = """
    IF TG_OP = 'UPDATE'
        AND current_setting('portico.numbering', true) = 'on'
        AND pg_has_role((SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'MEMBER')
    THEN
        IF TG_LEVEL = 'STATEMENT' THEN
            RETURN NULL;
        ELSIF OLD.number IS NULL AND to_jsonb(NEW) - 'number' = to_jsonb(OLD) - 'number' THEN
            RETURN NEW;
        END IF;
    END IF;
"""
# Five hundred people at a time, each time committed. An event that comes in between is counted on from their number.
NUMBER_THE_OLD = """
DO $$
DECLARE
    people bigint[];
    done bigint := 0;
BEGIN
    PERFORM set_config('portico.numbering', 'on', false);
    LOOP
        SELECT array_agg(id ORDER BY id) INTO people
        FROM (SELECT id FROM users WHERE id > done ORDER BY id LIMIT 500) AS next;
        EXIT WHEN people IS NULL;
        INSERT INTO event_numbers (user_id, latest)
        SELECT u.id, (SELECT count(*) FROM audit_events AS e WHERE e.target_id = u.id)
        FROM users AS u WHERE u.id = ANY (people) ORDER BY u.id FOR KEY SHARE
        ON CONFLICT (user_id) DO NOTHING;
        UPDATE audit_events AS e SET number = old.number
        FROM (
            SELECT id, row_number() OVER (PARTITION BY target_id ORDER BY id) AS number
            FROM audit_events WHERE target_id = ANY (people) AND number IS NULL
        ) AS old WHERE e.id = old.id;
        COMMIT;
        done := people[cardinality(people)];
    END LOOP;
    PERFORM set_config('portico.numbering', 'off', false);
END
$$
"""
NAME_THE_OLD_IDENTITIES = """
DO $$
BEGIN
    LOOP
        UPDATE identities SET public_id = gen_random_uuid()
        WHERE id IN (SELECT id FROM identities WHERE public_id IS NULL LIMIT 5000);
        EXIT WHEN NOT FOUND;
        COMMIT;
    END LOOP;
END
$$
"""
# For the linter, which sees no transactions: these stand outside of any, and the check is nobody's but ours.
OUTSIDE = "-- squawk-ignore ban-concurrent-index-creation-in-transaction, prefer-robust-stmts, constraint-missing-not-valid\n"
CHECK = "ck_identities_public_id"
DROP_CHECK = f"-- squawk-ignore ban-drop-constraint\nALTER TABLE identities DROP CONSTRAINT IF EXISTS {CHECK}"
INDEXES = {
    "uq_audit_events_target_id_number": "UNIQUE INDEX {} ON audit_events (target_id, number)",
    "uq_identities_public_id": "UNIQUE INDEX {} ON identities (public_id)",
    "ix_users_place": (
        "INDEX {} ON users ((((id & '2147483647'::bigint) * 1327217885) & '2147483647'::bigint))"
        " WHERE password_hash IS NOT NULL"
    ),
}


def upgrade() -> None:
    op.execute("ALTER TABLE audit_events ADD COLUMN IF NOT EXISTS number bigint")
    op.execute(
        "CREATE TABLE IF NOT EXISTS event_numbers ("
        " user_id bigint NOT NULL, latest bigint NOT NULL,"
        " CONSTRAINT pk_event_numbers PRIMARY KEY (user_id),"
        " CONSTRAINT fk_event_numbers_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE)"
        # Room beside each row for its next version.
        " WITH (fillfactor = 50)"
    )
    op.execute(GIVE_NUMBER)
    op.execute(
        "CREATE OR REPLACE TRIGGER audit_events_number BEFORE INSERT ON audit_events"
        " FOR EACH ROW EXECUTE FUNCTION number_audit_event()"
    )
    op.execute(REFUSE % BUT_FOR_NUMBERS)
    op.execute(
        "CREATE OR REPLACE TRIGGER audit_events_numbering BEFORE UPDATE ON audit_events"
        " FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute("ALTER TABLE identities ADD COLUMN IF NOT EXISTS public_id uuid")
    op.execute("ALTER TABLE identities ALTER COLUMN public_id SET DEFAULT gen_random_uuid()")
    _look_after_what_is_there()
    op.execute("DROP TRIGGER audit_events_numbering ON audit_events")
    op.execute(REFUSE % "")
    # The check has looked at every row: NOT NULL believes it, and keeps nobody waiting.
    op.execute("ALTER TABLE identities ALTER COLUMN public_id SET NOT NULL")
    op.execute(DROP_CHECK)


def downgrade() -> None:
    op.execute("DROP INDEX ix_users_place")
    op.execute("DROP INDEX uq_identities_public_id")
    op.execute("ALTER TABLE identities DROP COLUMN public_id")
    op.execute("DROP TRIGGER audit_events_number ON audit_events")
    op.execute("DROP FUNCTION number_audit_event()")
    op.execute("DROP INDEX uq_audit_events_target_id_number")
    op.execute("ALTER TABLE audit_events DROP COLUMN number")
    op.execute("DROP TABLE event_numbers")


def _look_after_what_is_there() -> None:
    """In many small transactions, beside whoever reads and writes."""
    with op.get_context().autocommit_block():
        op.execute("SET statement_timeout = 0")
        op.execute(NUMBER_THE_OLD)
        op.execute(NAME_THE_OLD_IDENTITIES)
        for name, index in INDEXES.items():
            # Or half of one, of an earlier try, would stay.
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"{OUTSIDE}CREATE {index.format(f'CONCURRENTLY {name}')}")
        op.execute(DROP_CHECK)
        op.execute(f"ALTER TABLE identities ADD CONSTRAINT {CHECK} CHECK (public_id IS NOT NULL) NOT VALID")
        op.execute(f"{OUTSIDE}ALTER TABLE identities VALIDATE CONSTRAINT {CHECK}")
        op.execute("SET statement_timeout = '15min'")
