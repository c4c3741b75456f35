"""Roles, as Stint gives and takes them."""

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies: ClassVar = [("provider", "0001_people")]
    operations: ClassVar = [
        migrations.AddField(model_name="person", name="roles", field=models.JSONField(default=list)),
    ]
