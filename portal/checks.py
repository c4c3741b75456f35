"""Checks that `manage.py check`, web and the worker run at their start. portal.env has refused bad values before."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from urllib.parse import urlsplit

import structlog
from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register, run_checks  # noqa: A004 (Django's name)
from django.db import InterfaceError, OperationalError, connection

from grants.adapters.secrets import NoSecret, resolve_secret
from portal.env_values import is_loopback
from portal.postgres.base import WrongRole

log = structlog.get_logger(__name__)

TAG = "stint"


@register(TAG)
def settings_fit(app_configs: Sequence[AppConfig] | None, **_: object) -> list[CheckMessage]:  # noqa: ARG001
    """Warn of settings that are allowed but hardly intended."""
    env = settings.ENV
    said: list[CheckMessage] = []
    if env.https and not env.trusted_proxy:
        said.append(
            Warning(
                "STINT_TRUSTED_PROXY is not set, so every page answers 301 to itself for ever.",
                hint="With an https STINT_PUBLIC_URL a proxy ends TLS: let it set X-Forwarded-Proto, strip the "
                "client's, and set STINT_TRUSTED_PROXY=true.",
                id="stint.W001",
            )
        )
    if env.idp_admin_secret_ref:
        try:
            resolve_secret(env.idp_admin_secret_ref)
        except NoSecret as error:
            said.append(Warning(f"STINT_IDP_ADMIN_SECRET_REF: {error}", id="stint.W002"))
    admin = urlsplit(env.idp_admin_url or "")
    if admin.scheme == "http" and not is_loopback(admin.hostname or ""):
        said.append(Warning("STINT_IDP_ADMIN_URL: its secret goes there in plain http.", id="stint.W003"))
    return said


@register(TAG)
def role_is_bounded(app_configs: Sequence[AppConfig] | None, **_: object) -> list[CheckMessage]:  # noqa: ARG001
    """Refuse a database role that could change the record."""
    try:
        connection.ensure_connection()
    except WrongRole as error:
        return [Error(str(error), id="stint.E001")]
    except (OperationalError, InterfaceError) as error:
        text = f"STINT_DATABASE_URL: the database does not answer ({str(error).strip().splitlines()[0]})."
        return [Warning(text, hint="Its role is looked at as soon as it answers.", id="stint.W004")]
    return []


def before_start() -> None:
    """Run the checks above: log their warnings, and end this process when one of them finds an error."""
    found = run_checks(tags=[TAG])
    connection.close()
    for one in found:
        log.warning("check", id=one.id, text=one.msg, hint=one.hint)
    if errors := [str(one.msg) for one in found if one.is_serious()]:
        sys.exit("\n".join(errors))
