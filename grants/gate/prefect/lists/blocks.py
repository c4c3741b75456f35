"""Block documents: secrets pass only to a caller with `secret` on every block in the answer, nested ones included.

Where secrets are asked for, Prefect is asked both ways, and the answer itself decides which one is passed on: what
a block is made of may have changed since it was looked up.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from urllib.parse import urlencode

from grants.gate.decision.lookup import LookupFailed
from grants.gate.decision.types import Answer, Fold, Json, Narrowed, Send
from grants.gate.prefect.lists.filters import held_to, refuse_other_keys, shaped
from grants.gate.prefect.lookups.rows import references
from grants.gate.prefect.lookups.visible_ids import ListCall
from grants.gate.prefect.scopes import Scope

_KEYS = ("block_documents", "block_types", "block_schemas", "include_secrets", "sort", "offset", "limit")
_NO = frozenset({"false", "f", "0", "no", "n", "off"})  # texts that Prefect's pydantic takes for False


def wants_secrets(values: Collection[object]) -> bool:
    """Tell whether any value of include_secrets asks for secrets, or may be taken to."""
    return any(value is not False and str(value).lower() not in _NO for value in values)


def _list(call: ListCall) -> Narrowed:
    body = shaped(call.body)
    granted = call.visible_ids.granted
    known = granted.blocks | granted.secrets
    if not granted.all:
        refuse_other_keys(body, _KEYS)
        body = held_to(body, "block_documents", "id", known)
        if not known:
            return Answer([])
    wanted = "include_secrets" in body and wants_secrets([body["include_secrets"]])
    masked, clear = (call.sent({**body, "include_secrets": choice}) for choice in (False, True))
    step = _either(call, [masked, clear], wanted=wanted)
    if granted.all:
        return step
    sends, fold = (step.sends, step.fold) if isinstance(step, Fold) else ((masked,), lambda answers: answers[0])
    # A document comes with the blocks that it is made of, and Prefect cannot leave those out.
    return Fold(sends, lambda answers: [row for row in fold(answers) if _covered(row, known)])


def _of_type(call: ListCall) -> Narrowed:
    """Prefect lists all blocks of a type here: those that the caller may not see are removed from its answer."""
    masked, clear = _both(call)
    granted = call.visible_ids.granted
    if granted.all:
        return _either(call, [masked, clear], wanted=_wanted(call))
    known = granted.blocks | granted.secrets

    def fold(answers: Sequence[Json]) -> Json:
        shown = [[row for row in rows if _covered(row, known)] for rows in answers]
        return shown[-1] if all(_covered(row, granted.secrets) for row in shown[-1]) else shown[0]

    return Fold((masked, clear) if _wanted(call) and granted.secrets else (masked,), fold)


def _one(call: ListCall) -> Narrowed:
    return _either(call, list(_both(call)), wanted=_wanted(call))


def _either(call: ListCall, sends: Sequence[Send], *, wanted: bool) -> Narrowed:
    """Send the masked request alone, or both, of whose answers one is passed on."""
    masked, clear = sends
    secrets = call.visible_ids.granted.secrets
    if not wanted or not secrets:
        return masked

    def fold(answers: Sequence[Json]) -> Json:
        documents = answers[1] if isinstance(answers[1], list) else [answers[1]]
        return answers[1] if all(_covered(document, secrets) for document in documents) else answers[0]

    return Fold((masked, clear), fold)


def _covered(document: Json, secrets: Collection[str]) -> bool:
    try:
        return all(key in secrets for key in references(document))
    except LookupFailed:
        return False


def _wanted(call: ListCall) -> bool:
    return wants_secrets([value for name, value in call.match.target.query if name == "include_secrets"])


def _both(call: ListCall) -> tuple[Send, Send]:
    others = [pair for pair in call.match.target.query if pair[0] != "include_secrets"]

    def send(choice: str) -> Send:
        query = urlencode([*others, ("include_secrets", choice)])
        return call.sent(call.body, target=f"{call.match.target.raw_path}?{query}")

    return send("false"), send("true")


LINES: dict[Scope, Callable[[ListCall], Narrowed]] = {
    Scope.BLOCKS: _list,
    Scope.BLOCKS_OF_TYPE: _of_type,
    Scope.BLOCK: _one,
}
