"""The signal that the catalog sends to the packages above it."""

from django.dispatch import Signal

# Sent when facts change by which the policy judges resources: in that transaction, with the rows of the resources and
# connections locked, before the event is recorded. `connections` are ids; `changed` are ids of resources, None for all.
judged_anew = Signal()
