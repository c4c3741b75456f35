"""Where the gate is, and the lines that make somebody's programs go through it."""

from __future__ import annotations

import json
from typing import NamedTuple

from django.conf import settings

from grants.catalog.models import Connection
from grants.lifecycle.models import Grant


class Lines(NamedTuple):
    """Something to paste: where it goes, and the text."""

    title: str
    where: str
    text: str


def address(connection: Connection) -> str:
    """The connection as people and programs reach it, "https://prefect.example.org"; "" where no gate serves it."""
    return f"{'https' if settings.ENV.https else 'http'}://{connection.host}" if connection.host else ""


def to_paste(connection: Connection, token: str) -> list[Lines]:
    """A Prefect client sends an API key on calls but not on its sockets; a header goes with both."""
    api = f"{address(connection)}/api"
    headers = json.dumps({"Authorization": f"Bearer {token}"})
    return [
        Lines("Shell", "bash or zsh, this terminal only",
              f"export PREFECT_API_URL='{api}'\nexport PREFECT_CLIENT_CUSTOM_HEADERS='{headers}'"),
        Lines("Prefect profile", "kept on this machine until the token is over",
              f"prefect profile create stint\n"
              f"prefect --profile stint config set PREFECT_API_URL='{api}' PREFECT_CLIENT_CUSTOM_HEADERS='{headers}'"),
        Lines(".env", "for docker and the like", f"PREFECT_API_URL={api}\nPREFECT_CLIENT_CUSTOM_HEADERS={headers}"),
        Lines("Python", "before the first import of prefect",
              f"import os\n\nos.environ['PREFECT_API_URL'] = '{api}'\n"
              f"os.environ['PREFECT_CLIENT_CUSTOM_HEADERS'] = '{headers}'"),
        Lines("curl", "a call by hand", f"curl -H 'Authorization: Bearer {token}' '{api}/admin/version'"),
    ]  # fmt: skip


def to_try(grant: Grant) -> str:
    """A command that this grant allows."""
    kind, name = grant.resource.kind, grant.resource.name
    quoted = "'" + name.replace("'", "'\\''") + "'"
    if grant.level == "work":
        return f"prefect worker start --pool {quoted}" if kind == "pool" else "prefect worker start --pool …"
    if kind == "deployment":
        return f"prefect deployment {'inspect' if grant.level == 'view' else 'run'} {quoted}"
    if kind == "pool":
        return f"prefect work-pool inspect {quoted}"
    return "prefect flow-run ls --limit 10"


# Why the gate refused, by its code (grants.gate.decision.types.Code), as the page of a grant says it.
_REFUSED = {
    "no_grant": "For something else than was granted",
    "ended": "After the access had ended",
    "drained": "New work, or a run that had not begun, after the end",
    "guard": "With a body that asks for more than the level",
    "expired": "With a token that was over",
    "revoked": "With a token that was revoked",
    "inactive": "By somebody who is switched off",
    "list": "A list that can't be narrowed as it was asked for",
    "not_found": "For something that is not there",
    "body": "With a body that makes no sense",
    "too_large": "With a body that is too large",
    "route": "To an address that Prefect does not have",
    "method": "With a method that the address does not take",
    "target": "To an address with more than one meaning",
    "headers": "With headers that have more than one meaning",
    "old_client": "Sockets of a Prefect client older than 3.6.14: upgrade it",
    "origin": "From a page of another site",
    "stale": "While Stint was in trouble",
    "record_behind": "While a restored backup was not declared",
    "upstream": "While Prefect was in trouble",
}
KEY_ONLY = "key_only"  # calls carried the token, the sockets of the same client did not


def refused(code: str) -> str:
    return _REFUSED.get(code, f"Refused ({code})")
