"""`python -m portal.web`: the portal, until SIGTERM. Says what is wrong with the settings, then becomes granian."""

from __future__ import annotations

import os
import sys

import django

from portal.env import Env


def command(env: Env) -> list[str]:
    """granian, with what Stint asks of it."""
    return [
        sys.executable, "-m", "granian", "--interface", "asginl", "--http", "1", "--no-ws",
        "--host", env.web_host, "--port", str(env.web_port), "--workers", str(env.web_processes),
        "--respawn-failed-workers", "--http1-header-read-timeout", "10000",  # ms
        "--workers-kill-timeout", "8",  # seconds: before Docker kills all, after ten
        "portal.asgi:application",
    ]  # fmt: skip


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    from django.conf import settings  # noqa: PLC0415 (only now there are any)

    from portal import checks  # noqa: PLC0415

    checks.before_start()
    os.execv(sys.executable, command(settings.ENV))  # noqa: S606 (in the place of this process)


if __name__ == "__main__":
    main()
