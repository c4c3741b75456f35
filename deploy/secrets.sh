#!/bin/sh
# Makes the secrets that docker-compose.yml mounts; what is there already is kept.
set -eu
umask 077
mkdir -p secrets
make() { [ -s "secrets/$1" ] || printf '%s' "$2" > "secrets/$1"; }
random() { head -c 36 /dev/urandom | base64 | tr -d '\n/+='; }
for name in stint_owner stint_app stint_gate secret_key; do make "$name" "$(random)$(random)"; done
make database_url "postgresql://stint_app:$(cat secrets/stint_app)@postgres:5432/stint"
make database_owner_url "postgresql://stint_owner:$(cat secrets/stint_owner)@postgres:5432/stint"
make gate_database_url "postgresql://stint_gate:$(cat secrets/stint_gate)@postgres:5432/stint"
make prefect "stint:$(random)"
[ -s secrets/oidc_client ] || echo "Put the client secret that the provider gave Stint into secrets/oidc_client." >&2
[ -s secrets/stint_provisioner ] || echo "Put the secret of Keycloak's client stint-provisioner into secrets/stint_provisioner." >&2
chmod 0644 secrets/*  # compose mounts them as they are, and Stint does not run as you
chmod 0711 secrets
