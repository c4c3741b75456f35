"""A team tells its service identities apart by their names."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_tables"),
    ]

    operations = [
        migrations.AddConstraint(
            model_name="subject",
            constraint=models.UniqueConstraint(
                condition=models.Q(("kind", "service")), fields=("team", "name"), name="subject_service_once"
            ),
        ),
    ]
