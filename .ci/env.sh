# Sourced: gets uv and a CPython >= 3.12, installs what uv.lock says, sets VENV.
set -eu
if [ -n "${SSL_CERT_FILE:-}" ]; then export PIP_CERT="${PIP_CERT:-$SSL_CERT_FILE}"; fi  # uv reads it by itself
for p in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem /etc/ssl/cert.pem; do
  if [ -e "$p" ]; then  # the machine's own authorities, a private one's among them
    export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-true}" UV_NATIVE_TLS="${UV_NATIVE_TLS:-true}" PIP_CERT="${PIP_CERT:-$p}"
    break
  fi
done
if ! uv --version >/dev/null 2>&1; then  # a pyenv shim may be there and fail
  PATH="$PWD/.cache/uv/bin:$PATH"
  export PATH
  if ! uv --version >/dev/null 2>&1; then
    echo "Getting uv …" >&2
    python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore --target .cache/uv 'uv>=0.9,<1' >&2 \
      || { echo "This needs uv, or a python3 that has pip." >&2; exit 1; }
  fi
fi
if [ -z "${UV_PYTHON:-}" ] && ! uv python find -q --system --no-python-downloads '>=3.12,<3.15' >/dev/null 2>&1; then
  for p in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[2-4].*/bin/python; do  # their shims are not to be trusted
    if "$p" -c 'import ssl, sqlite3' 2>/dev/null; then UV_PYTHON="$p"; export UV_PYTHON; fi
  done
fi
VENV="$PWD/.venv"
export VENV
uv sync --frozen --quiet \
  || { echo "The packages could not be installed, or no CPython >= 3.12 is here: install one, or set UV_PYTHON." >&2; exit 1; }
unset PYTHONDONTWRITEBYTECODE || true
