-- Two roles for one database: an owner that migrates, and the app's, which reads and writes rows and no more.
-- The audit log it can only add to. docs/deployment.md, "Two roles", says how to use it.
--
--   OWNER_PASSWORD=... APP_PASSWORD=... psql --dbname portico --set owner=portico_owner --set app=portico \
--       --file deploy/postgres/roles.sql
--
-- Run it as the server's administrator, in the app's database, before or after migrations, and as often as you like:
-- what is there already is brought to the same state. Without a password a role keeps the one it has, or has none.

\set ON_ERROR_STOP on
\set QUIET on
\if :{?owner} \else \set owner portico_owner \endif
\if :{?app} \else \set app portico \endif
\getenv owner_password OWNER_PASSWORD
\getenv app_password APP_PASSWORD
\if :{?owner_password} \else \set owner_password '' \endif
\if :{?app_password} \else \set app_password '' \endif

BEGIN;
SET LOCAL client_min_messages = warning;
-- Passwords are in the statements below: not into the server's log.
SELECT current_setting('is_superuser') AS is_superuser \gset
\if :is_superuser
SET LOCAL log_statement = 'none';
SET LOCAL log_min_duration_statement = -1;
SET LOCAL log_min_error_statement = panic;
\endif

SELECT format('CREATE ROLE %I LOGIN', name)
FROM unnest(ARRAY[:'owner', :'app']) AS name WHERE name NOT IN (SELECT rolname FROM pg_roles) \gexec
SELECT format('ALTER ROLE %I LOGIN PASSWORD %L', name, password)
FROM (VALUES (:'owner', :'owner_password'), (:'app', :'app_password')) AS given (name, password)
WHERE password <> '' \gexec

-- An app that could become somebody else, or switch rules off, would make the rest worth nothing.
SELECT (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls
    OR rolname = :'owner' OR pg_has_role(oid, (SELECT oid FROM pg_roles WHERE rolname = :'owner'), 'MEMBER'))
    AS app_is_too_mighty FROM pg_roles WHERE rolname = :'app' \gset
\if :app_is_too_mighty
DO $$ BEGIN RAISE EXCEPTION 'the app''s role is a superuser, has special attributes, or is a member of the owner'; END $$;
\endif

-- A managed server's administrator is no superuser, and hands over only to roles that it is in.
\if :is_superuser \else
GRANT :"owner" TO CURRENT_USER;
\endif

-- What the server logs of their statements bears no values: no statement, and no row that was in a statement's way.
-- Only a superuser may say so; a managed server has parameters for it (docs/deployment.md, "The server's own log").
\if :is_superuser
SELECT format('ALTER ROLE %I SET %I = %L', role, setting, value)
FROM unnest(ARRAY[:'owner', :'app']) AS role, (VALUES
    ('log_error_verbosity', 'terse'), ('log_min_error_statement', 'panic'),
    ('log_parameter_max_length_on_error', '0'), ('log_statement', 'none'),
    ('log_min_duration_statement', '-1'), ('log_min_duration_sample', '-1'),
    ('log_transaction_sample_rate', '0')) AS quiet (setting, value) \gexec
\endif

-- The owner: the database, the schema, and everything in it that no extension brought.
SELECT format('ALTER DATABASE %I OWNER TO %I', current_database(), :'owner') \gexec
ALTER SCHEMA public OWNER TO :"owner";
SELECT format('ALTER TABLE %s OWNER TO %I', oid::regclass, :'owner')
FROM pg_class AS c WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
    AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = c.oid AND d.deptype = 'e') \gexec
SELECT format('ALTER ROUTINE %1$s OWNER TO %2$I; REVOKE ALL ON ROUTINE %1$s FROM PUBLIC', oid::regprocedure, :'owner')
FROM pg_proc AS p WHERE pronamespace = 'public'::regnamespace
    AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e') \gexec

-- Nobody has anything that they were not given.
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC, %I', current_database(), :'app') \gexec
SELECT format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), :'app') \gexec
REVOKE ALL ON SCHEMA public FROM PUBLIC, :"app";
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, :"app";
REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM PUBLIC, :"app";

-- The app: rows of every table, those of later migrations too.
GRANT USAGE ON SCHEMA public TO :"app";
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO :"app";
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" REVOKE EXECUTE ON ROUTINES FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO :"app";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO :"app";

-- But the log is only added to, and the schema's number only read. On an empty database the migrations say the same.
SELECT format('REVOKE UPDATE, DELETE ON %s FROM %I', to_regclass('public.audit_events'), :'app')
WHERE to_regclass('public.audit_events') IS NOT NULL \gexec
SELECT format('REVOKE INSERT, UPDATE, DELETE ON %s FROM %I', to_regclass('public.alembic_version'), :'app')
WHERE to_regclass('public.alembic_version') IS NOT NULL \gexec
SELECT format('GRANT EXECUTE ON FUNCTION %s TO %I', purge, :'app')
FROM to_regprocedure('public.purge_audit_events(timestamptz, integer)') AS purge WHERE purge IS NOT NULL \gexec
COMMIT;
