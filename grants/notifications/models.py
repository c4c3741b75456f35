from django.db import models


class Cursor(models.Model):
    """How far one reader of the audit sequence has come."""

    name = models.TextField(primary_key=True)
    seq = models.BigIntegerField()
    error = models.TextField(blank=True, db_default="")
