"""`python -m portal.web`: run the portal until SIGTERM. Checks the settings, then replaces itself by granian."""

from __future__ import annotations

import os
import sys

import django

from portal.env import Env


def command(env: Env) -> list[str]:
    """The command that starts granian with Stint's options."""
    return [
        sys.executable, "-m", "granian", "--interface", "asginl", "--http", "1", "--no-ws",
        "--host", env.web_host, "--port", str(env.web_port), "--workers", str(env.web_processes),
        "--respawn-failed-workers", "--http1-header-read-timeout", "10000",  # ms
        "--workers-kill-timeout", "8",  # seconds; Docker kills everything after ten
        "portal.asgi:application",
    ]  # fmt: skip


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    django.setup()
    from django.conf import settings  # noqa: PLC0415 (settings exist only after setup)

    from portal import checks  # noqa: PLC0415

    checks.before_start()
    os.execv(sys.executable, command(settings.ENV))  # noqa: S606 (in the place of this process)


if __name__ == "__main__":
    main()
