#!/bin/sh
# Run once by the postgres image on an empty volume: the three roles of Stint, and its database.
set -eu
for role in owner app gate; do
  psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -v role="stint_$role" -v secret="$(cat "/run/secrets/stint_$role")" <<'SQL'
CREATE ROLE :"role" LOGIN PASSWORD :'secret';
SQL
done
psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -c 'CREATE DATABASE stint OWNER stint_owner'
