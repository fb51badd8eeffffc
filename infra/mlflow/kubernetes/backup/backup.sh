#!/bin/sh
# Dump MLflow's databases into a folder, each whole or not at all, and keep the newest of each.
#
#   BACKUP_FOLDER      where to, on another disk than the database's
#   BACKUP_KEEP        dumps of each database that stay                          (14)
#   BACKUP_DATABASES   their names                                               (mlflow mlflow_auth)
#   PGHOST, PGUSER, PGPASSWORD, ...: the server, as for every program of Postgres
#
# Traces and figures are in the bucket, and are never changed: copy it after the dump, and all that the dump names is there.
set -eu
umask 077

folder=${BACKUP_FOLDER:?}
keep=${BACKUP_KEEP:-14}
stamp=$(date -u +%Y%m%dT%H%M%SZ)

for database in ${BACKUP_DATABASES:-mlflow mlflow_auth}; do
    part=$folder/.$database-$stamp.part
    trap 'rm -f "$part"' EXIT
    pg_dump --format=custom --no-owner --file="$part" "$database"
    pg_restore --list "$part" >/dev/null # a file that ends early has no list
    sync "$part"
    mv "$part" "$folder/$database-$stamp.dump"
    trap - EXIT
    # Names sort by time.
    find "$folder" -name "$database-2*.dump" | sort -r | tail -n "+$((keep + 1))" | while read -r old; do rm "$old"; done
    echo "$folder/$database-$stamp.dump"
done
