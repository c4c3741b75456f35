"""What a refused caller is told: JSON with a link for programs, a page with a button for people.

There is never a Basic prompt or a redirect on an API path, and no name except those that the caller gave.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import urlencode

from grants.catalog.levels import LEVELS_OF, Level
from grants.gate.decision.check import nearest
from grants.gate.decision.types import ANY, Ask, Code, Principal, Refusal, Snapshot
from grants.gate.doors import page
from grants.references import ref

RETRY_SECONDS = 2
_SIGN_IN = frozenset({Code.CREDENTIAL, Code.UNKNOWN, Code.EXPIRED, Code.REVOKED})

_SENTENCES = {
    Code.TARGET: "The address of this call could mean more than one thing.",
    Code.HEADERS: "The headers of this call could mean more than one thing.",
    Code.BODY: "The body of this call is not what this route takes.",
    Code.TOO_LARGE: "The body of this call is too large.",
    Code.OLD_CLIENT: "This client opens its socket in a way that this gate does not serve.",
    Code.HOST: "No orchestrator is served under this host name.",
    Code.ROUTE: "This gate knows no such route.",
    Code.METHOD: "This route takes no such method.",
    Code.CREDENTIAL: "This call carries no credential: send a service token as a Bearer header.",
    Code.UNKNOWN: "Nobody has this credential.",
    Code.EXPIRED: "This credential has expired.",
    Code.REVOKED: "This credential was revoked.",
    Code.INACTIVE: "The account of this credential is switched off.",
    Code.ORIGIN: "This call comes from another site.",
    Code.DRAINED: "The access has ended; only runs that had started by then may still report.",
    Code.GUARD: "The body of this call asks for more than its route.",
    Code.NOT_FOUND: "There is no such thing here.",
    Code.LIST: "This list cannot be narrowed to what you may see as it was asked for.",
    Code.BUSY: "You ask for too much at once. Try again in a moment.",
    Code.STALE: "Stint cannot tell at the moment what you may do. Nothing was decided: try again in a moment.",
    Code.RECORD_BEHIND: "Stint's database is older than what this gate has seen. Nothing is let through until an admin"
    " has looked at it.",
    Code.UPSTREAM: "The orchestrator does not answer. Try again in a moment.",
}
_TITLES = {
    400: "This call could not be understood",
    401: "Sign in to go on",
    403: "This is not yours to do",
    404: "Nothing is here",
    405: "Nothing is here",
    429: "Too many of your calls at once",
    503: "Stint cannot answer this now",
    504: "The orchestrator does not answer",
}


class Context(NamedTuple):
    """What a refusal may mention, beside the refusal itself."""

    portal: str  # public URL of the portal
    snapshot: Snapshot | None = None  # None: there is none yet
    principal: Principal | None = None  # None: the caller is not authenticated
    now: datetime | None = None  # the snapshot's; None without one
    method: str = ""
    path: str = ""  # canonical; "" where it could mean two things
    sign_in: str = ""  # where a browser gets a session; "" where none can, and on a path that programs call
    things: Mapping[str, str] = MappingProxyType({})  # kinds of resources, in words


type Rendered = tuple[int, dict[str, str], bytes]


def render(refusal: Refusal, *, html: bool, context: Context) -> Rendered:
    """Status, headers and body. `html`: a person navigates (the door tells by Accept and Sec-Fetch-Mode)."""
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
    if refusal.status in (429, 503):
        headers["Retry-After"] = str(RETRY_SECONDS)
    if html and context.sign_in and refusal.code in _SIGN_IN:
        return 302, {**headers, "Location": context.sign_in}, b""
    link = request_link(refusal.ask, context) if refusal.status == 403 else ""
    if html:
        headers |= {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": page.CSP}
        return refusal.status, headers, _page(refusal, link, context).encode()
    detail = sentence(refusal, context.things) + (f" Ask for it: {link}" if link else "")
    headers["Content-Type"] = "application/json"
    return refusal.status, headers, json.dumps({"detail": detail, "code": refusal.code.value}).encode()


def sentence(refusal: Refusal, things: Mapping[str, str]) -> str:
    """Say in a sentence why a call was refused."""
    said = _access(refusal, things) if refusal.code in {Code.NO_GRANT, Code.ENDED} else _SENTENCES[refusal.code]
    return f"{said} {refusal.why}" if refusal.why else said


def request_link(ask: Ask | None, context: Context) -> str:
    """Link to the portal's request form, filled in. A thing that was called by name is looked up there for the asker.

    So a thing that does not exist, or that the policy hides, looks here like one without a grant.
    """
    if ask is None or ask.need == ANY:
        return ""
    query: dict[str, str] = {}
    if ask.named is not None:
        kind, name = ask.named
        if ask.need in LEVELS_OF.get(kind, ()) and ask.lineage:
            query = {"connection": ask.lineage[0].connection, "kind": kind, "name": name, "level": _word(ask.need)}
    elif context.snapshot is not None:
        for key in ask.lineage:
            place = context.snapshot.resources.get(key)
            if place is not None and ask.need in LEVELS_OF.get(key.kind, ()):
                query = {"item": f"{place.id}:{_word(ask.need)}"}
                break
    portal = context.portal.rstrip("/")
    return f"{portal}/requests/new?{urlencode(query)}" if query else f"{portal}/catalog"


def _access(refusal: Refusal, things: Mapping[str, str]) -> str:
    thing = _thing(refusal.ask, things)
    level = _word(refusal.ask.need) if refusal.ask is not None else "access"
    if refusal.code is Code.ENDED:
        return f"Your access to {thing} has ended: this needs {level}."
    return f"You do not have {level} on {thing}."


def _thing(ask: Ask | None, things: Mapping[str, str]) -> str:
    if ask is None:
        return "this"
    if ask.named is not None:
        kind, name = ask.named
        return f"{things.get(kind, kind)} {name}"
    kind = next((key.kind for key in ask.lineage), "")
    return f"this {things[kind]}" if kind in things else "anything here"


def _word(level: Level) -> str:
    return level.word if level.name in Level.__members__ else "access"


def _page(refusal: Refusal, link: str, context: Context) -> str:
    asked = refusal.ask if refusal.code in {Code.NO_GRANT, Code.ENDED} else None
    things, versus = context.things, None
    title, lead = _TITLES.get(refusal.status, "Refused"), sentence(refusal, things)
    if asked is not None:
        title = _access(refusal, things).partition(":")[0].rstrip(".")
        lead = "Nothing was changed. The call never reached the orchestrator."
        versus = page.Versus(_had(asked, context), _word(asked.need), f"on {_thing(asked, things)}")
    return page.refused(
        title=title,
        lead=lead,
        versus=versus,
        link=link,
        call=f"{context.method} {context.path}".strip(),
        code=refusal.code.value,
        trouble=refusal.status == 429 or refusal.status >= 500,
    )


def _had(ask: Ask, context: Context) -> page.Had:
    """What the caller has or had there, by its own grants alone, so that nobody learns here whether a thing exists."""
    if context.snapshot is None or context.principal is None or context.now is None:
        return page.Had()
    grant = nearest(context.snapshot, context.principal, ask, context.now)
    if grant is None:
        return page.Had()
    when = f"{grant.until.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    number = (ref("grant", grant.id), f"{context.portal.rstrip('/')}/grants/{grant.id}")
    if context.now < grant.until:
        return page.Had(_word(grant.level), f"until {when}", number)
    return page.Had("nothing any more", f"{_word(grant.level)} ended {when}", number)
