"""No value of any parameter breaks a page: each that a page reads is tried, as its address and its form are fuzzed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
from django.http import QueryDict
from django.test import Client
from django.urls import URLPattern
from django.utils.datastructures import MultiValueDict

from accounts.models import Subject
from accounts.service_identities import owned_by
from grants.lifecycle.models import Grant
from grants.tokens.models import Credential
from grants.web.urls import urlpatterns
from tests.cast import Cast
from tests.web.conftest import SignIn
from tests.web.scene import busy_day

# As they stand in an address. NUL is refused by PostgreSQL, halves of characters by whatever encodes them.
ODD = ["%00", "a%00b", "%ED%A0%80", "%FF", "9" * 30, "-1", "%D9%A1", "x" * 5000, "%25", "%27%22%3C", "NaN", "1e9", "2026-13-45", ":::", ""]  # fmt: skip


class _Read(set[str]):
    """The names of parameters that a page has asked for."""

    @contextmanager
    def watched(self) -> Iterator[None]:
        watched = {}
        for name in ("get", "getlist", "__getitem__", "__contains__"):
            watched[name] = self._noting(getattr(QueryDict, name))
        with patch.multiple(QueryDict, **watched):
            yield

    def _noting(self, method: Any) -> Any:
        def noting(data: MultiValueDict[str, str], name: str, *args: Any, **kwargs: Any) -> Any:
            self.add(name)
            return method(data, name, *args, **kwargs)

        return noting


def addresses(cast: Cast) -> Iterator[str]:
    """One of each page, of something that is there."""
    pending = busy_day(cast)
    grant = Grant.objects.filter(beneficiary=cast.ada, resource=cast.deployment).order_by("pk")[0]
    credential, service = Credential.objects.first(), owned_by(cast.ada).first()
    ids = {"catalog": cast.deployment.pk, "requests": pending.pk, "grants": grant.pk}
    ids |= {"tokens": credential.pk if credential else 1, "services": service.pk if service else 1}
    for each in urlpatterns:
        assert isinstance(each, URLPattern)
        route = str(each.pattern)
        yield "/" + route.replace("<int:pk>", str(ids.get(route.partition("/")[0], 0)))


def asked(client: Client, method: str, address: str, query: str) -> int:
    if method == "get":
        return client.get(f"{address}?{query}").status_code
    return client.post(address, query, content_type="application/x-www-form-urlencoded").status_code


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("who", ["ada", "olga"])
def test_no_parameter_breaks_a_page(cast: Cast, sign_in: SignIn, who: str, method: str) -> None:
    """Fault: NUL in the name of a resource is asked of the database."""
    subject: Subject = getattr(cast, who)
    client = sign_in(subject)
    client.raise_request_exception = False
    found, tried = [], 0
    for address in list(addresses(cast)):
        read = _Read()
        with read.watched():
            asked(client, method, address, "name=x&item=1:view")
        tries = [f"{name}={odd}" for name in sorted(read) for odd in ODD[:3]]
        tries += ["&".join(f"{name}={odd}" for name in sorted(read)) for odd in ODD[3:]] if read else []
        tried += len(tries)
        found += [f"{address}?{query[:200]}" for query in tries if asked(client, method, address, query) >= 500]
    assert tried > 100
    assert not found, "\n".join(found)
