"""The people of the demo's identity provider."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import models


class Person(AbstractBaseUser):
    """A person of the demo. The primary key is the `sub`, not the user name, because user names can change."""

    sub = models.CharField(primary_key=True, max_length=40)
    username = models.CharField(max_length=40, unique=True)
    name = models.CharField(max_length=80)
    email = models.EmailField()
    about = models.TextField()
    enabled = models.BooleanField(default=True)
    groups = models.JSONField(default=list)
    roles = models.JSONField(default=list)

    password = None  # type: ignore[assignment]
    USERNAME_FIELD = "username"
    REQUIRED_FIELDS: ClassVar[list[str]] = []
    objects: ClassVar[models.Manager[Person]] = models.Manager()  # type: ignore[assignment]

    class Meta:
        app_label = "provider"
        ordering = ("username",)

    def get_session_auth_hash(self) -> str:
        return self.sub

    def as_json(self) -> dict[str, Any]:
        """The person as the admin routes send them."""
        return {
            "id": self.sub,
            "username": self.username,
            "name": self.name,
            "email": self.email,
            "enabled": self.enabled,
            "groups": self.groups,
            "roles": self.roles,
        }
