"""What the gate counts for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()

ANSWERED = Counter("stint_gate_answers", "Answers by status.", ["connection", "status"], registry=REGISTRY)
DECIDED = Counter(
    "stint_gate_decisions", "Calls let through (ok) or refused, by code.", ["connection", "code"], registry=REGISTRY
)
SPENT = Histogram(
    "stint_gate_seconds", "From the head of a request to the end of its answer.", registry=REGISTRY,
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)  # fmt: skip
OPEN_SOCKETS = Gauge("stint_gate_open_sockets", "Sockets that are open.", registry=REGISTRY)
CONNECTIONS = Gauge("stint_gate_connections", "Callers' connections that are open.", registry=REGISTRY)
TURNED_AWAY = Counter(
    "stint_gate_turned_away", "Connections that were closed before a request, by reason.", ["why"], registry=REGISTRY
)
GUESSES = Counter(
    "stint_gate_tickets", "Tickets and sessions that belong to nobody, and tries beyond the limit.", ["came"],
    registry=REGISTRY,
)  # fmt: skip
SNAPSHOT_AGE = Gauge("stint_gate_snapshot_age_seconds", "Since the last check that it is current.", registry=REGISTRY)
SNAPSHOT_VERSION = Gauge("stint_gate_snapshot_version", "Version of the record that the gate knows.", registry=REGISTRY)
RECORD_BEHIND = Gauge(
    "stint_gate_record_behind", "1 while the database does not continue what was seen.", registry=REGISTRY
)
WAITING = Gauge("stint_gate_unwritten", "Counts and events that wait for the database.", registry=REGISTRY)
LOST = Counter("stint_gate_lost", "Counts and events that there was no room to keep.", ["what"], registry=REGISTRY)
LAG = Histogram(
    "stint_gate_loop_lag_seconds", "How late the event loop runs what is due.", registry=REGISTRY,
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)  # fmt: skip
