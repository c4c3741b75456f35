"""The ways in which lists of a Prefect server are narrowed. A line of the table names one; narrow says what it does."""

from __future__ import annotations

from grants.gate.decision import types
from grants.gate.decision.types import Match


class Scope(types.Scope):
    FLOWS = "flows"
    FLOW_RUNS = "flow_runs"
    FLOW_RUN_HISTORY = "flow_run_history"
    UI_FLOW_RUN_HISTORY = "ui_flow_run_history"
    DEPLOYMENTS = "deployments"
    TASK_RUNS = "task_runs"
    TASK_RUN_HISTORY = "task_run_history"
    TASK_RUN_DASHBOARD = "task_run_dashboard"
    ARTIFACTS = "artifacts"
    LOGS = "logs"
    WORK_POOLS = "work_pools"
    WORK_QUEUES = "work_queues"
    QUEUES_OF_DEPLOYMENT = "queues_of_deployment"
    TASK_RUNS_OF_RUNS = "task_runs_of_runs"
    DEPLOYMENTS_OF_FLOWS = "deployments_of_flows"
    NEXT_RUNS_OF_FLOWS = "next_runs_of_flows"
    EVENTS = "events"
    EVENT_COUNTS = "event_counts"
    EVENT_PAGE = "event_page"
    EVENTS_OUT = "events_out"
    LOGS_OUT = "logs_out"
    SERVER_LIST = "server_list"  # a list of what belongs to the whole server: empty without its view
    SERVER_COUNT = "server_count"
    SERVER = "server"  # one thing that belongs to the whole server: refused without its view
    BLOCKS = "blocks"
    BLOCKS_OF_TYPE = "blocks_of_type"
    BLOCK = "block"
    SCHEMA_VALUES = "schema_values"
    GRAPH = "graph"  # of a run that is granted; what it started elsewhere has others' names


NEEDS_QUEUES = frozenset({Scope.WORK_QUEUES, Scope.QUEUES_OF_DEPLOYMENT})  # which queues the caller may see


def scope_of(match: Match) -> Scope:
    """The scope of a route that has one."""
    assert isinstance(match.route.scope, Scope)
    return match.route.scope
