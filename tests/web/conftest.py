"""Pages are rendered with plain file names: the manifest is made, and tested, in test_design.py."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client
from pytest_django import Settings

from accounts.models import Subject
from tests.cast import Cast

type SignIn = Callable[[Subject], Client]


@pytest.fixture(autouse=True)
def plain_static(settings: Settings) -> None:
    settings.STATIC_ROOT.mkdir(exist_ok=True)  # WhiteNoise wants it to be there
    settings.STORAGES = {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}


@pytest.fixture
def sign_in(cast: Cast) -> SignIn:
    """A browser with a session of this person's, as SSO would have made it."""

    def of(subject: Subject) -> Client:
        client = Client(headers={"host": "127.0.0.1:8000"})
        client.force_login(subject)
        return client

    return of
