"""Say where the gate is, how programs use it, and why it refused calls."""

from __future__ import annotations

import json
from typing import NamedTuple

from django.conf import settings

from grants.catalog.models import Connection
from grants.gate.decision.types import Code
from grants.lifecycle.models import Grant


class Lines(NamedTuple):
    """Lines to paste, and where they go."""

    title: str
    where: str
    text: str


def address(connection: Connection) -> str:
    """Return the address of a connection at the gate, "https://prefect.example.org"; "" where no gate serves it."""
    return f"{'https' if settings.ENV.https else 'http'}://{connection.host}" if connection.host else ""


def to_paste(connection: Connection, token: str) -> list[Lines]:
    """Write the settings of a client. A header, as a Prefect client sends its API key on calls but not on sockets."""
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
    """Give a command that this grant allows."""
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
_REFUSED: dict[str, str] = {
    Code.NO_GRANT: "For something else than was granted",
    Code.ENDED: "After the access had ended",
    Code.DRAINED: "New work, or a run that had not begun, after the end",
    Code.GUARD: "With a body that asks for more than the level",
    Code.EXPIRED: "With a token that was over",
    Code.REVOKED: "With a token that was revoked",
    Code.INACTIVE: "By somebody who is switched off",
    Code.LIST: "A list that can't be narrowed as it was asked for",
    Code.NOT_FOUND: "For something that is not there",
    Code.BODY: "With a body that makes no sense",
    Code.TOO_LARGE: "With a body that is too large",
    Code.ROUTE: "To an address that Prefect does not have",
    Code.METHOD: "With a method that the address does not take",
    Code.TARGET: "To an address with more than one meaning",
    Code.HEADERS: "With headers that have more than one meaning",
    Code.OLD_CLIENT: "Sockets of a Prefect client older than 3.6.14: upgrade it",
    Code.ORIGIN: "From a page of another site",
    Code.HOST: "At a host that no connection has",
    Code.CREDENTIAL: "Without a token",
    Code.UNKNOWN: "With a token that belongs to nobody",
    Code.BUSY: "While its caller asked for too much at once",
    Code.STALE: "While Stint was in trouble",
    Code.RECORD_BEHIND: "While a restored backup was not declared",
    Code.UPSTREAM: "While Prefect was in trouble",
}


def refused(code: str) -> str:
    return _REFUSED.get(code, f"Refused ({code})")
