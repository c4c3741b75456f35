"""How the gate authorizes itself at a Prefect server: by its auth string, read again when the server refuses it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from grants.adapters.http import basic
from grants.gate.decision.kinds import Entrance
from grants.gate.decision.types import Json


class AuthString(NamedTuple):
    entrance: Entrance

    async def headers(self) -> Mapping[str, str]:
        secret = self.entrance.secret()
        return basic(secret) if secret else {}

    async def sign_in(self) -> Json:
        return {"type": "auth", "token": self.entrance.secret() or None}

    def refused(self) -> None:
        self.entrance.forget_secret()
