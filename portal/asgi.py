"""The application of each granian process: an event loop in front of the pages, which are WSGI in threads."""

import os
from typing import Any

import psycopg
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import connection
from django.template.loader import render_to_string

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
pages = get_wsgi_application()

from portal.front import Front  # noqa: E402 (needs the apps)
from portal.postgres.presence import PRESENCE  # noqa: E402

_params = connection.get_connection_params() | {"autocommit": True, "application_name": "stint web presence"}


def _connect() -> psycopg.Connection[Any]:
    return psycopg.connect(**_params)


render_to_string(
    "down.html", {"theme": "", "begun": False}
)  # loaded now, so that nobody waits for the template when the database is down
PRESENCE.start(_connect)
application = Front(pages, threads=settings.ENV.web_threads)
