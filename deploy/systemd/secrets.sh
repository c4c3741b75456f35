#!/bin/sh
# Makes the secrets that the units read, in /etc/stint/secrets, and keeps those that exist. Run it as root after you made
# the users stint and stint-gate, and again after you wrote the two secrets from Keycloak.
set -eu
umask 077
cd /etc/stint
install -d -m 0711 secrets
make() { [ -s "secrets/$1" ] || printf '%s' "$2" > "secrets/$1"; }
random() { head -c 36 /dev/urandom | base64 | tr -d '\n/+='; }
give() { # to a user and a group, who read it
  owner=$1; shift
  for name in "$@"; do
    [ -e "secrets/$name" ] || continue
    chown "$owner" "secrets/$name"
    chmod 0440 "secrets/$name"
  done
}
for name in stint_owner stint_app stint_gate secret_key metrics_token; do make "$name" "$(random)$(random)"; done
make database_url "postgresql://stint_app:$(cat secrets/stint_app)@127.0.0.1:5432/stint"
make database_owner_url "postgresql://stint_owner:$(cat secrets/stint_owner)@127.0.0.1:5432/stint"
make gate_database_url "postgresql://stint_gate:$(cat secrets/stint_gate)@127.0.0.1:5432/stint"
make prefect "stint:$(random)"
give root:root stint_owner stint_app stint_gate database_owner_url
give root:stint secret_key database_url oidc_client stint_provisioner
give root:stint-gate gate_database_url
give stint-gate:stint prefect metrics_token
for name in oidc_client stint_provisioner; do
  [ -s "secrets/$name" ] || echo "Missing: write /etc/stint/secrets/$name yourself (docs/operations.md, Keycloak)." >&2
done
