from typing import override

from django.apps import AppConfig


class GrantsConfig(AppConfig):
    name = "grants"
    default_auto_field = "django.db.models.BigAutoField"

    @override
    def ready(self) -> None:
        from grants.audit import subscribers  # noqa: PLC0415 (their models need the apps)
        from grants.lifecycle import hold  # noqa: PLC0415
        from grants.policy import versions  # noqa: PLC0415
        from grants.tokens import tickets  # noqa: PLC0415

        subscribers.connect()
        versions.connect()
        hold.connect()  # before tickets: grants are locked before credentials
        tickets.connect()
