#!/bin/sh
# Make a database of a dump, whole or not at all. MLflow must not run meanwhile.
#
#   restore.sh DATABASE FILE.dump
#
# A database of that name is an error: rename it first, which a wrong dump then costs nothing
#   psql --dbname=postgres --command='ALTER DATABASE mlflow RENAME TO mlflow_before'
#   PGHOST, PGUSER, PGPASSWORD, ...: the server, as for every program of Postgres
set -eu

database=${1:?usage: restore.sh DATABASE FILE.dump}
dump=${2:?usage: restore.sh DATABASE FILE.dump}
pg_restore --list "$dump" >/dev/null
createdb "$database"
trap 'dropdb "$database"' EXIT
pg_restore --exit-on-error --single-transaction --no-owner --dbname="$database" "$dump"
trap - EXIT
