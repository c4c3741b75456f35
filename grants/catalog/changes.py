"""What the catalog tells the rooms above it."""

from django.dispatch import Signal

# Sent in the transaction that changes what the policy judges resources by, with their rows and their connections'
# locked, before it is recorded: `connections` (ids), `changed` (ids of resources, or None for all of them).
judged_anew = Signal()
