"""`manage.py gate`: replace this process by the gate."""

from __future__ import annotations

import os
import sys
from typing import Any, override

from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Runs the gate in front of the orchestrators: python -m portal.gate, which is free of Django."

    @override
    def handle(self, *args: Any, **options: Any) -> None:
        os.execv(sys.executable, [sys.executable, "-m", "portal.gate"])  # noqa: S606 (in the place of this process)
