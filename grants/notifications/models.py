from django.db import models


class Cursor(models.Model):
    """The last event that one reader of the record has handled."""

    name = models.TextField(primary_key=True)
    seq = models.BigIntegerField()
    error = models.TextField(blank=True, db_default="")
