#!/bin/sh
# Makes the secrets that docker-compose.yml mounts, and keeps those that exist. Run it again after you add one yourself.
#
# No other user of this machine can open the folder. Compose mounts the files as they are, into containers that run as
# other users. As root, this script gives each file to the user who reads it there; otherwise it makes the files readable
# by everybody, behind the closed folder.
set -eu
umask 077
mkdir -p secrets
chmod 0700 secrets
make() { [ -s "secrets/$1" ] || printf '%s' "$2" > "secrets/$1"; }
random() { head -c 36 /dev/urandom | base64 | tr -d '\n/+='; }
give() { # to a user id of a container
  uid=$1; shift
  for name in "$@"; do
    [ -e "secrets/$name" ] || continue
    if chown "$uid" "secrets/$name" 2>/dev/null; then chmod 0400 "secrets/$name"; else chmod 0444 "secrets/$name"; fi
  done
}
for name in postgres stint_owner stint_app stint_gate secret_key metrics_token keycloak_admin; do make "$name" "$(random)$(random)"; done
make database_url "postgresql://stint_app:$(cat secrets/stint_app)@postgres:5432/stint"
make database_owner_url "postgresql://stint_owner:$(cat secrets/stint_owner)@postgres:5432/stint"
make gate_database_url "postgresql://stint_gate:$(cat secrets/stint_gate)@postgres:5432/stint"
make prefect "stint:$(random)"
give 999 postgres stint_owner stint_app stint_gate  # postgres in its image
give 1000 keycloak_admin  # keycloak in its image
give 10001 secret_key metrics_token database_url database_owner_url gate_database_url prefect oidc_client stint_provisioner
for name in oidc_client stint_provisioner; do
  [ -s "secrets/$name" ] || echo "Missing: write secrets/$name yourself (docs/operations.md, Keycloak)." >&2
done
