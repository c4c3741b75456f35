"""Where Django looks for the tables of all rooms. Import them from their rooms, never from here."""

from grants.audit.models import AuditEvent, AuditHead
from grants.catalog.models import Connection, Resource
from grants.due import DueJob, ProcessBeat
from grants.lifecycle.models import Decision, Grant, Request, RequestItem, RoleBinding
from grants.notifications.models import Cursor
from grants.policy.models import PolicyRefusal, PolicyVersion, RuleSet
from grants.tokens.models import Credential, Delivery, GateUsage

__all__ = [
    "AuditEvent",
    "AuditHead",
    "Connection",
    "Credential",
    "Cursor",
    "Decision",
    "Delivery",
    "DueJob",
    "GateUsage",
    "Grant",
    "PolicyRefusal",
    "PolicyVersion",
    "ProcessBeat",
    "Request",
    "RequestItem",
    "Resource",
    "RoleBinding",
    "RuleSet",
]
