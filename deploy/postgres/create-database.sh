#!/bin/sh
# Run once by the postgres image on an empty data folder: the database and its two roles. Running it again is safe, and
# is how a database of before there were two gets them: docs/deployment.md, "Two roles".
set -eu
as_administrator() { psql --no-psqlrc --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" "$@"; }
as_administrator --dbname postgres <<'SQL'
SELECT 'CREATE DATABASE portico' WHERE 'portico' NOT IN (SELECT datname FROM pg_database) \gexec
SQL
OWNER_PASSWORD=$(cat /run/secrets/database_owner_password)
APP_PASSWORD=$(cat /run/secrets/database_password)
export OWNER_PASSWORD APP_PASSWORD
as_administrator --dbname portico --file /usr/local/share/portico/roles.sql
