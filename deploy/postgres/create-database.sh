#!/bin/sh
# Run once by the postgres image on an empty data folder: a role for the app that is no superuser, and its database.
set -eu
psql --no-psqlrc --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
\set password `cat /run/secrets/database_password`
CREATE ROLE portico LOGIN PASSWORD :'password';
CREATE DATABASE portico OWNER portico;
REVOKE ALL ON DATABASE portico FROM PUBLIC;
SQL
