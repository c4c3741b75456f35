from typing import override

from django.apps import AppConfig


class GrantsConfig(AppConfig):
    name = "grants"
    default_auto_field = "django.db.models.BigAutoField"

    @override
    def ready(self) -> None:
        from grants import wiring  # noqa: PLC0415 (its models need the apps)

        wiring.connect()
