"""The words of the gate (docs/model.md): what is asked, who asks, what is known, what comes of it. All are values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum, StrEnum, auto
from typing import Any, NamedTuple

from grants.catalog.levels import Key, Level
from grants.gate.decision.limits import SMALL

type Json = Any  # what json.loads gives

ANY = Level(0)  # any subject that is signed in, whatever it may do


# The call.


class Target(NamedTuple):
    """A request's target in its one canonical spelling: what is decided on is what goes upstream."""

    path: str  # decoded, "/api/work_pools/a b"
    raw_path: str  # the same, percent-encoded canonically
    query: tuple[tuple[str, str], ...]  # decoded, in order, repeated names kept
    raw: str  # raw_path and the canonical query: what goes upstream


class Body(Enum):
    """What the door does with a request's body before it decides."""

    NONE = auto()  # there is none; one that comes is refused
    JSON = auto()  # read whole (`most` bytes), parsed strictly, sent on re-serialised
    STREAM = auto()  # nobody needs it: passed on as it comes, up to `most` bytes


class Drains(Enum):
    """What a worker whose access has ended may still do with a route until its drain is over."""

    NOTHING = auto()  # refused like everybody
    EMPTY = auto()  # answered [] by the gate: there is no new work
    RUN = auto()  # passed for runs that had started, refused for others
    ALWAYS = auto()  # passed: names no run and changes nothing of anybody's


class Scope(StrEnum):
    """How a list is cut down to what its caller may see. Each kind of orchestrator has members of its own."""


class Lookup(NamedTuple):
    """Something to resolve at the orchestrator: a kind of finder and the id or name as the client gave it."""

    kind: str
    id: str


class Known(NamedTuple):
    """What the orchestrator said of one Lookup."""

    lineage: tuple[Key, ...]  # nearest first, the server last; of a flow: all its deployments, their pools, the server
    facts: Mapping[str, Json]  # the few fields that guards and the drain look at


type Found = Mapping[Lookup, Known | None]  # None: the orchestrator has no such thing


class Match(NamedTuple):
    """A route that took a call, and the values of its template's parameters, decoded."""

    route: Route
    params: Mapping[str, str]
    target: Target
    connection: str = ""  # slug of the orchestrator whose table it is; with none, no grant fits


type Needs = Callable[[Match, Json], tuple[Lookup, ...] | Refusal]
type Guard = Callable[[Match, Json, Found], tuple[Ask, ...] | Refusal]


class Route(NamedTuple):
    """One line of the table. `method` is WS for a socket. `template` is as the server registers it, with /api."""

    method: str
    template: str
    need: Level | None  # None: public; ANY: any subject; else on what `find` names
    find: tuple[str, ...] = ()  # "deployment:path:id", "flow_run:body:flow_run_id": kind, where, which
    body: Body = Body.NONE
    guard: Guard | None = None  # decides the asks instead of `need` and `find`
    scope: Scope | None = None  # what is answered is narrowed by it to what the caller may see
    tells_nothing: bool = False  # ANY without a scope: nothing of anybody's is told or changed
    drains: Drains = Drains.NOTHING
    needs: Needs | None = None  # what to look up, where `find` cannot say it
    most: int = SMALL  # bytes of its body (limits.py has the steps); one that is longer is refused

    @property
    def name(self) -> str:
        """As counts and the record have it: "POST /api/flow_runs/", "WS /api/events/in"."""
        return f"{self.method} {self.template}"


class Ask(NamedTuple):
    """`need` on any of `lineage`: a grant on one of them, or on nothing where `need` is ANY, is a yes.

    A Key of kind "any" stands for every resource of its connection: with id "" by a grant that holds `need`, with
    id "work" or "manage" by one that holds that level, whatever `need` is.
    """

    lineage: tuple[Key, ...]
    need: Level
    named: tuple[str, str] | None = None  # kind and name as the caller gave it: what a refusal may repeat
    missing: bool = False  # the orchestrator has no such thing: who passes is answered 404, by the gate itself


# Who asks, and what is known.


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
    """A resource as the catalog has it: for words in refusals and for what a pool covers, never for a decision."""

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
    secret_ref: str  # env:NAME or file:PATH of what only the gate knows
    id: int = 0  # its row, for the record


class Snapshot(NamedTuple):
    """Everything the gate knows, of one version. Replaced whole, never changed."""

    version: int
    checked_at: float  # monotonic clock of the last check that it is current, taken before asking
    clock_offset: timedelta  # the database's clock minus ours
    credentials: Mapping[bytes, Credential]  # by digest
    subjects: frozenset[int]  # those who are active
    grants: Mapping[int, Grant]
    grants_of: Mapping[int, Sequence[int]]  # subject -> grants
    resources: Mapping[Key, CatalogEntry]
    upstreams: Mapping[str, Upstream]  # by host


# What comes of it.


class Code(StrEnum):
    """Why a call was refused: the word in logs, metrics, usage and the record."""

    TARGET = "target"  # the target has no one meaning
    HEADERS = "headers"
    BODY = "body"
    TOO_LARGE = "too_large"
    OLD_CLIENT = "old_client"  # its socket does not speak the subprotocol that newer clients send
    HOST = "host"
    ROUTE = "route"  # no line of the table
    METHOD = "method"
    CREDENTIAL = "credential"  # none
    UNKNOWN = "unknown"  # one that nobody has
    EXPIRED = "expired"
    REVOKED = "revoked"
    INACTIVE = "inactive"  # who holds it was switched off
    ORIGIN = "origin"  # a browser's call from another site
    NO_GRANT = "no_grant"
    ENDED = "ended"  # there was one
    DRAINED = "drained"
    GUARD = "guard"  # the body asks for more than the route
    NOT_FOUND = "not_found"
    LIST = "list"  # a list that cannot be narrowed as it was asked for
    BUSY = "busy"  # too much of one caller's at once
    STALE = "stale"  # Stint is in trouble
    RECORD_BEHIND = "record_behind"  # a backup was restored and not declared
    UPSTREAM = "upstream"  # the orchestrator is


class Refusal(NamedTuple):
    status: int  # 400 401 403 404 405 408 413 415 417 429 503 504
    code: Code
    ask: Ask | None = None  # what would have passed: for the link to a pre-filled request
    why: str = ""  # a sentence for people, where the code's own is not enough


class CallRefused(Exception):
    """The call is over: its `refusal` is what the caller hears."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


def or_raise[T](answer: T | Refusal) -> T:
    """Give what is not a refusal; raise CallRefused for one."""
    if isinstance(answer, Refusal):
        raise CallRefused(answer)
    return answer


class Allow(NamedTuple):
    grants: tuple[int, ...]  # that were needed, for the record
    until: datetime  # the earliest end among them and the credential's
    shows: tuple[Grant, ...]  # live ones of the orchestrator that is called: what lists may show


class Drain(NamedTuple):
    """The access is over; what runs on it may finish reporting, and nothing else."""

    grants: tuple[int, ...]
    ended: datetime
    until: datetime


# What is sent on.


class Send(NamedTuple):
    """A request for the orchestrator, as narrowed."""

    method: str
    target: str  # canonical, with its query
    body: Json = None


class Answer(NamedTuple):
    """Answered by the gate itself: nothing of it may be seen, or it is known already."""

    body: Json
    status: int = 200


class Fold(NamedTuple):
    """Several requests to the orchestrator, and what is made of their answers (in order) for the caller."""

    sends: tuple[Send, ...]
    fold: Callable[[Sequence[Json]], Json]


type Narrowed = Send | Answer | Fold | Refusal
