"""The gateway: it decides on each request, and sends what is allowed to the orchestrator as it was decided."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import aiohttp
import structlog
from aiohttp import web
from multidict import CIMultiDict

from grants.gate.bounds.aside import CALLER, aside, dumped, parsed
from grants.gate.bounds.callers import STRANGERS, Callers, Hand
from grants.gate.bounds.turns import Turns, to_its_end
from grants.gate.decision import headers
from grants.gate.decision.kinds import Kind
from grants.gate.decision.limits import Limits
from grants.gate.decision.lookup import LookupFailed
from grants.gate.decision.table import RouteTable
from grants.gate.decision.target import canonical
from grants.gate.decision.types import (
    Answer,
    Body,
    CallRefused,
    Code,
    Drain,
    Drains,
    Fold,
    Json,
    Refusal,
    Send,
    Target,
    Upstream,
    or_raise,
)
from grants.gate.doors import refusals
from grants.gate.doors.answers import abort, pass_on, send
from grants.gate.doors.authorizer import STALE, Authorizer, Call, Passed
from grants.gate.doors.connection import known
from grants.gate.doors.enter import PREFIX, Enter
from grants.gate.doors.incoming import Stream, read_json, too_long
from grants.gate.doors.metrics import ANSWERED, DECIDED, SPENT
from grants.gate.doors.narrowing import narrowed
from grants.gate.doors.sockets import SocketDoor
from grants.gate.doors.upstream import Asking, Client, Orchestrator, Served, Unanswered, whole
from grants.gate.doors.usage import Usage
from grants.gate.feed.locks import OTHERS_FIRST, Locks
from grants.gate.feed.snapshot import Feed, now_of

log = structlog.get_logger(__name__)

_UNSAFE = frozenset({Code.HEADERS, Code.TARGET, Code.HOST, Code.BODY, Code.TOO_LARGE})


@dataclass(slots=True)
class Seen:
    """What is known of a request so far: a refusal is told and counted by it, however early it comes."""

    upstream: Upstream | None = None
    served: Served | None = None
    target: Target | None = None
    call: Call | None = None


class Gateway:
    def __init__(
        self,
        feed: Feed,
        kinds: Mapping[str, Kind],
        client: Client,
        usage: Usage,
        enter: Enter,
        limits: Limits,
        locks: Locks,
    ) -> None:
        self.feed, self.client, self.usage, self.enter, self.limits = feed, client, usage, enter, limits
        self.locks = locks
        self.authorizer = Authorizer(feed, scheme=client.scheme)
        self.callers = Callers(limits)
        self.sockets = SocketDoor(self.authorizer, client, usage, limits, self.callers)
        self._kinds = kinds
        self._turns = Turns(seconds=limits.turn, why=OTHERS_FIRST)
        self._served: dict[str, Served] = {}

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        began, seen = time.perf_counter(), Seen()
        try:
            answer = await self._answer(request, seen)
        except (CallRefused, Unanswered) as error:
            answer = await self._refuse(request, seen, error.refusal)
        except (ConnectionError, asyncio.CancelledError):
            raise  # the caller has left
        except Exception:
            # A fault of the gate says nothing about the caller: not 401, 403 or 500, on which workers exit.
            log.exception("gateway_failed")
            answer = await self._refuse(request, seen, STALE)
        ANSWERED.labels(seen.upstream.slug if seen.upstream else "", str(answer.status)).inc()
        SPENT.observe(time.perf_counter() - began)
        return answer

    # A request's way to the orchestrator, in the order in which it may be refused.

    async def _answer(self, request: web.BaseRequest, seen: Seen) -> web.StreamResponse:
        version = (request.version.major, request.version.minor)
        if refusal := headers.refused(request.method, version, request.raw_headers, request.raw_path):
            raise CallRefused(refusal)
        snapshot = self.authorizer.snapshot()
        seen.target = or_raise(canonical(request.raw_path.encode("utf-8", "surrogateescape")))
        seen.upstream = snapshot.upstreams.get(request.headers["Host"].lower())
        if seen.upstream is None:
            raise CallRefused(Refusal(400, Code.HOST))
        if seen.target.path.startswith(PREFIX):
            return await self.enter.answer(request, seen.upstream, seen.target)
        seen.served = self.served(seen.upstream)
        socket = "Upgrade" in request.headers
        match = or_raise(seen.served.table.match("WS" if socket else request.method, seen.target))
        call = seen.call = Call(seen.served, match, request.headers)
        if socket:
            return await self.sockets.answer(request, call)
        return await self._decide(request, call)

    async def _decide(self, request: web.BaseRequest, call: Call) -> web.StreamResponse:
        subject = STRANGERS
        if call.match.route.need is not None:
            principal = self.authorizer.principal_of(call)  # before any wait for a body
            subject = principal.subject
            self.sockets.recent_callers.heard(request.remote, principal.proof)
            known(request, subject)
        CALLER.set(subject)
        caller = subject or self.enter.addresses.of(request)
        with self.callers.call(caller) as hand:
            body = await self._body(request, call, hand)
            async with self.callers.turn(subject, call.served.upstream.slug):
                return await self._judged(request, call, body)

    async def _judged(self, request: web.BaseRequest, call: Call, body: Json) -> web.StreamResponse:
        """A call that is judged by what it changes waits for the others that change it, at this gate and at others.

        Two at once would each be judged without the other.
        """
        alone = call.served.kind.alone(call.match)
        if alone is None:
            return await self._passed(request, call, body)
        await self.authorizer.decide(call, body)  # a caller who would be refused keeps nobody waiting
        name = f"{call.served.upstream.slug} {alone}"
        async with self._turns.of(name), self.locks.held(name):
            call.served.lookups.wrote(call.match)  # what was asked for before may have been changed by another gate
            # What goes on at the orchestrator goes on without its caller, and so does the turn.
            return await to_its_end(self._passed(request, call, body), self.limits.answer)

    async def _passed(self, request: web.BaseRequest, call: Call, body: Json) -> web.StreamResponse:
        route = call.match.route
        if route.need is None:
            return await self._send(request, call, Send(request.method, call.match.target.raw, body), None)
        passed = await self.authorizer.decide(call, body)
        if isinstance(passed.outcome, Drain) and route.drains is Drains.EMPTY:
            return await self._say(request, call, Answer([]), 0)
        if route.scope is None:
            return await self._send(request, call, Send(request.method, call.match.target.raw, body), passed)
        return await self._narrowed(request, call, body, passed)

    async def _body(self, request: web.BaseRequest, call: Call, hand: Hand) -> Json:
        route = call.match.route
        if route.body is Body.JSON:
            body, call.size = await read_json(request, self.limits.body, route.most, hand.take)
            return body
        if route.body is Body.NONE and request.can_read_body:
            raise CallRefused(Refusal(400, Code.BODY, why="This call takes no body."))
        if (request.content_length or 0) > route.most:
            raise CallRefused(too_long(route.most))
        return None

    async def _narrowed(self, request: web.BaseRequest, call: Call, body: Json, passed: Passed) -> web.StreamResponse:
        step = await narrowed(self.authorizer, call, body, passed)
        if isinstance(step, Send):
            return await self._send(request, call, step, passed)
        size = call.size
        if isinstance(step, Fold):
            step, size = await self._fold(call, step, passed)
        return await self._say(request, call, step, size)

    async def _fold(self, call: Call, step: Fold, passed: Passed) -> tuple[Answer, int]:
        """Send several requests in place of the caller's, and give the answer that is made of theirs, with its bytes.

        The first that the orchestrator refuses is the answer.
        """
        answers, size = [], call.size
        head = {name: call.headers[name] for name in call.served.kind.headers if name in call.headers}
        for ask in step.sends:
            self.authorizer.confirm(call, passed)
            status, answer, length = await call.served.orchestrator.json(
                ask.method, ask.target, ask.body, headers=head, size=call.size
            )
            size += length
            if not 200 <= status < 300:
                return Answer(answer, status), size
            answers.append(answer)
        try:
            return Answer(await aside(size, step.fold, answers)), size
        except LookupFailed:
            raise CallRefused(Refusal(503, Code.UPSTREAM, why="The orchestrator's answer cannot be read.")) from None

    # Answers to the caller.

    async def _say(self, request: web.BaseRequest, call: Call, answer: Answer, size: int) -> web.StreamResponse:
        """Send an answer of the gate itself; `size` is the number of bytes that it was made from."""
        self._count(call, "ok")
        head = CIMultiDict({"Content-Type": "application/json", "Cache-Control": "no-store"})
        response = web.Response(status=answer.status, body=await dumped(answer.body, size), headers=head)
        return await send(request, response, self.limits)

    async def _send(
        self, request: web.BaseRequest, call: Call, step: Send, passed: Passed | None
    ) -> web.StreamResponse:
        served, stream = call.served, None
        head = headers.up(
            request.headers,
            served.upstream,
            scheme=self.client.scheme,
            secret=await served.orchestrator.authorization(),
            also=served.kind.headers,
        )
        if _is_read(call):
            head["Accept-Encoding"] = "identity"
        if call.match.route.body is Body.STREAM and request.can_read_body:
            stream = Stream(request, self.limits.body, call.match.route.most)
            if request.content_length is not None:
                head["Content-Length"] = str(request.content_length)
        else:
            head.popall("Content-Type", None)
            if step.body is not None:
                head["Content-Type"] = "application/json"
        data = stream or (None if step.body is None else await dumped(step.body, call.size))
        if passed is not None:
            self.authorizer.confirm(call, passed)  # to get the authorization may have taken a while
        self._count(call, "ok")
        try:
            with self._watched_body(call, passed, stream):
                upstream = await served.orchestrator.send(step.method, step.target, headers=head, data=data)
        except Unanswered:
            if stream is not None and stream.failure is not None:
                raise CallRefused(stream.failure) from None
            raise
        finally:
            if step.method not in ("GET", "HEAD"):
                served.lookups.wrote(call.match)  # whatever the answer: the write may have been made
        try:
            return await self._return(request, call, upstream, passed)
        finally:
            upstream.release()

    def _watched_body(self, call: Call, passed: Passed | None, stream: Stream | None) -> AbstractContextManager[object]:
        """Watch the access while a body is passed on: a call takes effect when its body ends, which must be in time."""
        if stream is None or passed is None:
            return nullcontext()
        return self.sockets.watched(call, passed, stream.end, after=0)

    async def _return(
        self, request: web.BaseRequest, call: Call, upstream: aiohttp.ClientResponse, passed: Passed | None
    ) -> web.StreamResponse:
        kind = call.served.kind
        page_policy = kind.page_policy if upstream.content_type == "text/html" else None
        head = headers.down(upstream.headers, page_policy=page_policy, api=kind.is_api(call.match.target.path))
        if not headers.stays(head.get("Location"), call.served.upstream):
            raise Unanswered(Refusal(503, Code.UPSTREAM, why="The orchestrator answered with another address."))
        if upstream.status < 300 and _is_read(call):
            body = await self._rewritten(call, await whole(upstream), passed)
            return await send(request, web.Response(status=upstream.status, body=body, headers=head), self.limits)
        if passed is None:
            return await pass_on(request, upstream, head, self.limits)
        with self.sockets.watched(call, passed, lambda _why: abort(request), after=self.limits.after_end):
            return await pass_on(request, upstream, head, self.limits)

    async def _rewritten(self, call: Call, raw: bytes, passed: Passed | None) -> bytes:
        """Read an answer that names the runs that were started, or that must be changed before the caller gets it."""
        kind, template, said = call.served.kind, call.match.route.template, await parsed(raw)
        if (make := kind.answers.get(template)) is not None:
            if isinstance(said, Refusal):
                raise CallRefused(Refusal(503, Code.UPSTREAM, why="The orchestrator's answer cannot be read."))
            said = or_raise(make(call.match, said, passed.found if passed is not None else {}))
            raw = await dumped(said, len(raw))
        if passed is not None and template in kind.started.templates:
            self._started(call, passed, (None,) if isinstance(said, Refusal) else kind.started.runs(said))
        return raw

    # Refusals.

    async def _refuse(self, request: web.BaseRequest, seen: Seen, refusal: Refusal) -> web.StreamResponse:
        if request.writer.output_size > 0:
            abort(request)  # an answer that was cut off must not look whole
            raise ConnectionError(refusal.code)
        self._count_refused(seen, refusal)
        path = seen.target.path if seen.target else ""
        kind = self._kinds.get(seen.upstream.kind) if seen.upstream else None
        # Where the orchestrator is not known, the caller may be a program of any kind.
        api = kind.is_api(path) if kind else any(one.is_api(path) for one in self._kinds.values())
        page = headers.wants_page(request.method, request.headers, api=api)
        sign_in = cookie = ""
        if page and seen.served and seen.target and "Authorization" not in request.headers:
            sign_in, cookie = self.enter.hand_off(request, seen.served.upstream, seen.target)
        snapshot = self.feed.fresh()
        context = refusals.Context(
            portal=self.enter.portal, snapshot=snapshot, method=request.method, path=path,
            things=kind.things if kind else {}, sign_in="" if api else sign_in,
            principal=seen.call.principal if seen.call else None, now=now_of(snapshot) if snapshot else None,
        )  # fmt: skip
        status, head, body = refusals.render(refusal, html=page, context=context)
        response = web.Response(status=status, body=body, headers=head)
        if status == 302:
            response.headers["Set-Cookie"] = cookie
        stranger = seen.call is None or seen.call.principal is None
        if refusal.code in _UNSAFE or request.content.exception() is not None or (stranger and status < 500):
            # A client that sends such a head is not trusted with where the next one begins, and an unauthenticated
            # caller does not keep a connection.
            response.force_close()
        return await send(request, response, self.limits)

    def _count(self, call: Call, code: str) -> None:
        DECIDED.labels(call.served.upstream.slug, code).inc()
        if call.principal is not None:
            self.usage.count(call.principal.proof, call.match.route.name, code)

    def _count_refused(self, seen: Seen, refusal: Refusal) -> None:
        call = seen.call
        if call is not None:
            self._count(call, refusal.code)
        else:
            DECIDED.labels(seen.upstream.slug if seen.upstream else "", refusal.code).inc()
        if refusal.status in (401, 403):
            self.usage.refused(seen.upstream, call, refusal, self.feed.fresh())

    def _started(self, call: Call, passed: Passed, runs: Sequence[str | None]) -> None:
        principal = call.principal
        assert principal is not None
        for run in runs:
            self.usage.event(
                "run_started",
                connection=call.served.upstream.id,
                subject=principal.subject,
                grants=list(passed.outcome.grants),
                run=run,
                **principal.proof._asdict(),
            )

    def served(self, upstream: Upstream) -> Served:
        """Give what the gate keeps for a connection. It is made anew when the connection has changed."""
        served = self._served.get(upstream.slug)
        if served is None or served.upstream != upstream:
            kind = self._kinds.get(upstream.kind)
            if kind is None:
                raise CallRefused(Refusal(503, Code.UPSTREAM, why=f"This gate serves no {upstream.kind}."))
            orchestrator = Orchestrator(self.client, upstream, kind)
            lookups = kind.lookups(upstream.slug, Asking(orchestrator))
            table = RouteTable(kind.routes, upstream.slug)
            served = self._served[upstream.slug] = Served(upstream, kind, table, lookups, orchestrator)
        return served


def _is_read(call: Call) -> bool:
    kind, template = call.served.kind, call.match.route.template
    return template in kind.answers or template in kind.started.templates
