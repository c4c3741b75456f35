from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client

from accounts.models import Subject
from tests.cast import Cast

type SignIn = Callable[[Subject], Client]


@pytest.fixture
def sign_in(cast: Cast) -> SignIn:
    """A browser with a session of this person's, as SSO would have made it."""

    def of(subject: Subject) -> Client:
        client = Client(headers={"host": "127.0.0.1:8000"})
        client.force_login(subject)
        return client

    return of
