"""What accounts tells the rooms above. Receivers run inside the transaction and may abort it."""

from django.dispatch import Signal

# Sent with verb (str), by (Subject, a word for a process, or None), subjects (the rows that changed), facts (ids only).
happened = Signal()

# Sent with subject, before what happened is recorded. Receivers answer with the rows that they changed.
session_ending = Signal()
