from typing import override

from django.apps import AppConfig


class PortalConfig(AppConfig):
    name = "portal"

    @override
    def ready(self) -> None:
        from portal import checks  # noqa: F401, PLC0415 (importing registers them)
