"""`python -m portal.demo.provider`: prepare the provider's data in STINT_DEMO_DIR, then run it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import django
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

CAST = Path(__file__).with_name("cast.yaml")


def make_key(path: Path) -> None:
    """Make the key that signs ID tokens, once: tokens and the portal's cached keys stay valid after a restart."""
    if not path.exists():
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        half = path.with_suffix(".half")
        with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(pem)
        half.rename(path)


def prepare() -> None:
    """Make the tables, the people (existing ones stay as they are), and the portal's client."""
    from django.conf import settings  # noqa: PLC0415 (needs the key)
    from django.core.management import call_command  # noqa: PLC0415
    from oauth2_provider.models import Application  # noqa: PLC0415

    from portal.demo.provider.models import Person  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    people: list[dict[str, Any]] = yaml.safe_load(CAST.read_text(encoding="utf-8"))
    for person in people:
        Person.objects.get_or_create(sub=person["sub"], defaults=person)
    Application.objects.update_or_create(
        client_id="stint",
        defaults={
            "name": "Stint",
            "client_type": Application.CLIENT_CONFIDENTIAL,
            "authorization_grant_type": Application.GRANT_AUTHORIZATION_CODE,
            "client_secret": settings.CLIENT_SECRET,
            "hash_client_secret": True,
            "redirect_uris": f"{settings.PORTAL}/oidc/callback",
            "post_logout_redirect_uris": f"{settings.PORTAL}/signin",
            "skip_authorization": True,
            "algorithm": Application.RS256_ALGORITHM,
        },
    )


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "portal.demo.provider.settings"
    make_key(Path(os.environ["STINT_DEMO_DIR"]) / "provider.pem")
    django.setup()
    prepare()
    port = os.environ["STINT_DEMO_OIDC_PORT"]
    granian = ["-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", port, "--no-ws"]
    os.execv(sys.executable, [sys.executable, *granian, "portal.demo.provider.wsgi:application"])
