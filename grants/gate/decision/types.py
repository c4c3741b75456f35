"""The gate's types (docs/model.md): a call, its route and caller, what is known, and the outcome. All are values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum, StrEnum, auto
from typing import Any, NamedTuple

from grants.catalog.levels import Key, Level
from grants.gate.decision.limits import SMALL

type Json = Any  # what json.loads gives

ANY = Level(0)  # no grant is needed: any subject that is signed in passes


# The call.


class Target(NamedTuple):
    """A request's target in its one canonical spelling: what is decided on is what goes upstream."""

    path: str  # decoded, "/api/work_pools/a b"
    raw_path: str  # the same, percent-encoded canonically
    query: tuple[tuple[str, str], ...]  # decoded, in order, repeated names kept
    raw: str  # raw_path and the canonical query: what goes upstream


class Body(Enum):
    """How the gateway handles a request's body before it decides."""

    NONE = auto()  # the call has none; a request that brings one is refused
    JSON = auto()  # read whole (`most` bytes), parsed strictly, sent on re-serialised
    STREAM = auto()  # not needed for the decision: passed on as it comes, up to `most` bytes


class Drains(Enum):
    """What a worker whose access has ended may still do with a route until its drain is over."""

    NOTHING = auto()  # refused, as without any access
    EMPTY = auto()  # answered [] by the gate: there is no new work
    RUN = auto()  # passed for runs that had started, refused for others
    ALWAYS = auto()  # passed: the call names no run and changes nothing that belongs to anybody


class Scope(StrEnum):
    """How a list is narrowed to what its caller may see. Each kind of orchestrator defines its own members."""


class Lookup(NamedTuple):
    """Something to ask the orchestrator for: a kind of lookup, and the id or name as the client gave it."""

    kind: str
    id: str


class Known(NamedTuple):
    """What the orchestrator answered to one Lookup."""

    lineage: tuple[Key, ...]  # nearest first, the server last; of a flow: all its deployments, their pools, the server
    facts: Mapping[str, Json]  # the few fields that guards and the drain read


type Found = Mapping[Lookup, Known | None]  # None: the orchestrator has no such thing


class Match(NamedTuple):
    """The route that matched a call, and the decoded values of its template's parameters."""

    route: Route
    params: Mapping[str, str]
    target: Target
    connection: str = ""  # slug of the connection whose table it is; if empty, no grant fits


type Needs = Callable[[Match, Json], tuple[Lookup, ...] | Refusal]
type Guard = Callable[[Match, Json, Found], tuple[Ask, ...] | Refusal]


class Route(NamedTuple):
    """One line of the table. `method` is WS for a WebSocket; `template` is as the server registers it, with /api."""

    method: str
    template: str
    need: Level | None  # None: public; ANY: any signed-in subject; else this level on what `find` names
    find: tuple[str, ...] = ()  # "deployment:path:id", "flow_run:body:flow_run_id": kind, where, which
    body: Body = Body.NONE
    guard: Guard | None = None  # computes the asks, in place of `need` and `find`
    scope: Scope | None = None  # the answer is narrowed by it to what the caller may see
    tells_nothing: bool = False  # for ANY without a scope: the call tells and changes nothing that belongs to anybody
    drains: Drains = Drains.NOTHING
    needs: Needs | None = None  # what to look up, where `find` cannot express it
    most: int = SMALL  # bytes of its body (limits.py has the steps); a longer one is refused

    @property
    def name(self) -> str:
        """The route as counts and the record have it: "POST /api/flow_runs/", "WS /api/events/in"."""
        return f"{self.method} {self.template}"


class Ask(NamedTuple):
    """`need` on any of `lineage`: a grant on one of them passes. Where `need` is ANY, no grant is needed.

    A Key of kind "any" stands for every resource of its connection: with id "" a grant passes that holds `need`; with
    id "work" or "manage" a grant passes that holds that level, whatever `need` is.
    """

    lineage: tuple[Key, ...]
    need: Level
    named: tuple[str, str] | None = None  # kind and name as the caller gave them: a refusal may repeat these
    missing: bool = False  # the orchestrator has no such thing: a caller who passes is answered 404 by the gate itself


# The caller, and what is known.


class ByCredential(NamedTuple):
    """A caller who has shown a credential that Stint issued: a service token, or a browser's session at the gate."""

    credential: int  # its row


# What a caller has shown. Calls are counted and recorded by it. A token of an identity provider, which has an issuer
# and a subject there and no row here, will be another member.
type Proof = ByCredential


class Principal(NamedTuple):
    """The caller of one call, and what it is limited to.

    A token is limited to the grant that it was issued for; a browser's session carries all grants of its subject.
    What all callers share is bounded by `subject`: one subject may have any number of proofs.
    """

    subject: int
    proof: Proof
    grants: frozenset[int] | None  # those that it is limited to; None: all of its subject's
    until: datetime  # when the proof itself is no longer good
    browser: bool = False


class Grant(NamedTuple):
    id: int
    subject: int
    resource: Key
    level: Level
    starts_at: datetime
    until: datetime  # coalesce(ended_at, ends_at)
    drain_until: datetime  # = until but for `work`, and after `revoked` or `left`


class Credential(NamedTuple):
    id: int
    kind: str  # token | gate_session
    digest: bytes  # SHA-256 of the whole token
    subject: int
    connection: str  # slug; a credential is good for one orchestrator alone
    grant: int | None
    expires_at: datetime
    revoked: bool


class CatalogEntry(NamedTuple):
    """A resource as the catalog has it: for the words and links of refusals, never for a decision."""

    id: int  # for the link to a request
    key: Key
    name: str


class Upstream(NamedTuple):
    """One connection as the gate serves it."""

    slug: str
    kind: str
    host: str  # Host header by which clients reach it: "flows.example.org", "127.0.0.1:4200"
    url: str  # of the orchestrator's API, "http://10.0.0.5:4200/api"
    environment: str
    secret_ref: str  # env:NAME or file:PATH of the secret that only the gate has
    id: int = 0  # its row, for the record


class Snapshot(NamedTuple):
    """All that the gate knows, of one version. It is replaced as a whole and never changed."""

    version: int
    checked_at: float  # monotonic clock, read before the last question whether it is current
    clock_offset: timedelta  # the database's clock minus ours
    credentials: Mapping[bytes, Credential]  # by digest
    subjects: frozenset[int]  # the active ones
    grants: Mapping[int, Grant]
    grants_of: Mapping[int, Sequence[int]]  # subject -> grants
    resources: Mapping[Key, CatalogEntry]
    upstreams: Mapping[str, Upstream]  # by host


# The outcome.


class Code(StrEnum):
    """Why a call was refused: the word for it in logs, metrics, usage and the record."""

    TARGET = "target"  # the target has no one meaning
    HEADERS = "headers"
    BODY = "body"
    TOO_LARGE = "too_large"
    OLD_CLIENT = "old_client"  # it does not offer the subprotocol that newer clients offer on sockets
    HOST = "host"
    ROUTE = "route"  # the table has no such line
    METHOD = "method"
    CREDENTIAL = "credential"  # the call shows none
    UNKNOWN = "unknown"  # the credential belongs to nobody
    EXPIRED = "expired"
    REVOKED = "revoked"
    INACTIVE = "inactive"  # its subject was switched off
    ORIGIN = "origin"  # a browser's call from another site
    NO_GRANT = "no_grant"
    ENDED = "ended"  # there was a grant, and it is over
    DRAINED = "drained"
    GUARD = "guard"  # the body asks for more than the route
    NOT_FOUND = "not_found"
    LIST = "list"  # a list that cannot be narrowed as it was asked for
    BUSY = "busy"  # one caller asks for too much at once
    STALE = "stale"  # the gate does not know what is granted now
    RECORD_BEHIND = "record_behind"  # a backup was restored and not declared
    UPSTREAM = "upstream"  # the orchestrator gives no answer that can be used


KEY_ONLY = "key_only"  # a word of usage beside these: calls carried the token, the sockets of the same client did not


class Refusal(NamedTuple):
    status: int  # 400 401 403 404 405 408 413 415 417 429 503 504
    code: Code
    ask: Ask | None = None  # what would have passed: for the link to a pre-filled request
    why: str = ""  # a sentence for people, beside the code's own


class CallRefused(Exception):
    """A call is refused; `refusal` is what the caller is told."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


def or_raise[T](answer: T | Refusal) -> T:
    """Return an answer that is no refusal. Raises CallRefused for a refusal."""
    if isinstance(answer, Refusal):
        raise CallRefused(answer)
    return answer


class Allow(NamedTuple):
    grants: tuple[int, ...]  # those that were needed, for the record
    until: datetime  # the earliest end among them and the proof's
    shows: tuple[Grant, ...]  # the caller's live grants on the called connection: what lists may show


class Drain(NamedTuple):
    """The access is over: runs that had started may still be reported on, and nothing else passes."""

    grants: tuple[int, ...]
    ended: datetime
    until: datetime


# What is sent to the orchestrator.


class Send(NamedTuple):
    """A narrowed request for the orchestrator."""

    method: str
    target: str  # canonical, with its query
    body: Json = None


class Answer(NamedTuple):
    """An answer of the gate itself: the caller may see nothing, or the answer is known without asking."""

    body: Json
    status: int = 200


class Fold(NamedTuple):
    """Several requests to the orchestrator, and the function that makes one answer of theirs, given in order."""

    sends: tuple[Send, ...]
    fold: Callable[[Sequence[Json]], Json]


type Narrowed = Send | Answer | Fold | Refusal
