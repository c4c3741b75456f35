"""The lists of a Prefect server: which route is narrowed how. What a scope does is in narrow, events and blocks."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Scope(StrEnum):
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
    SERVER_LIST = "server_list"  # of what belongs to the whole server: empty without its view
    SERVER_COUNT = "server_count"
    SERVER = "server"  # one thing of the whole server's: refused without its view
    BLOCKS = "blocks"
    BLOCKS_OF_TYPE = "blocks_of_type"
    BLOCK = "block"
    SCHEMA_VALUES = "schema_values"
    GRAPH = "graph"  # of one's own run; what it started elsewhere has names of others


SCOPES = frozenset(Scope)

NEEDS_QUEUES = frozenset({Scope.WORK_QUEUES, Scope.QUEUES_OF_DEPLOYMENT})  # of the sight

_LISTS = ("filter", "count", "paginate")


def _post(scope: Scope, under: str, *paths: str) -> dict[tuple[str, str], Scope]:
    return {("POST", f"/api/{under}/{path}"): scope for path in paths}


# By method and plain template.
SCOPE_OF: Mapping[tuple[str, str], Scope] = {
    **_post(Scope.FLOWS, "flows", *_LISTS),
    **_post(Scope.FLOW_RUNS, "flow_runs", *_LISTS, "lateness"),
    **_post(Scope.FLOW_RUN_HISTORY, "flow_runs", "history"),
    **_post(Scope.UI_FLOW_RUN_HISTORY, "ui/flow_runs", "history"),
    **_post(Scope.TASK_RUNS_OF_RUNS, "ui/flow_runs", "count-task-runs"),
    **_post(Scope.DEPLOYMENTS, "deployments", *_LISTS),
    **_post(Scope.DEPLOYMENTS_OF_FLOWS, "ui/flows", "count-deployments"),
    **_post(Scope.NEXT_RUNS_OF_FLOWS, "ui/flows", "next-runs"),
    **_post(Scope.TASK_RUNS, "task_runs", *_LISTS),
    **_post(Scope.TASK_RUNS, "ui/task_runs", "count"),
    **_post(Scope.TASK_RUN_HISTORY, "task_runs", "history"),
    **_post(Scope.TASK_RUN_DASHBOARD, "ui/task_runs", "dashboard/counts"),
    **_post(Scope.ARTIFACTS, "artifacts", "filter", "count", "latest/filter", "latest/count"),
    **_post(Scope.LOGS, "logs", "filter"),
    **_post(Scope.WORK_POOLS, "work_pools", "filter", "count"),
    **_post(Scope.WORK_QUEUES, "work_queues", "filter"),
    ("GET", "/api/deployments/{id}/work_queue_check"): Scope.QUEUES_OF_DEPLOYMENT,
    **_post(Scope.EVENTS, "events", "filter"),
    **_post(Scope.EVENT_COUNTS, "events", "count-by/{countable}"),
    ("GET", "/api/events/filter/next"): Scope.EVENT_PAGE,
    ("WS", "/api/events/out"): Scope.EVENTS_OUT,
    ("WS", "/api/logs/out"): Scope.LOGS_OUT,
    **_post(Scope.SERVER_LIST, "concurrency_limits", "filter"),
    **_post(Scope.SERVER_LIST, "v2/concurrency_limits", "filter"),
    **_post(Scope.SERVER_LIST, "saved_searches", "filter"),
    **_post(Scope.SERVER_LIST, "task_workers", "filter"),
    **_post(Scope.SERVER_LIST, "automations", "filter"),
    **_post(Scope.SERVER_LIST, "variables", "filter"),
    **_post(Scope.SERVER_COUNT, "automations", "count"),
    **_post(Scope.SERVER_COUNT, "variables", "count"),
    **_post(Scope.SERVER_COUNT, "block_documents", "count"),
    # An automation names what else it watches and starts, so a deployment's are not its viewers' to read.
    ("GET", "/api/automations/related-to/{resource_id}"): Scope.SERVER_LIST,
    ("GET", "/api/automations/{id}"): Scope.SERVER,
    ("GET", "/api/saved_searches/{id}"): Scope.SERVER,
    **_post(Scope.BLOCKS, "block_documents", "filter"),
    ("GET", "/api/block_types/slug/{slug}/block_documents"): Scope.BLOCKS_OF_TYPE,
    ("GET", "/api/block_types/slug/{slug}/block_documents/name/{block_document_name}"): Scope.BLOCK,
    ("GET", "/api/block_documents/{id}"): Scope.BLOCK,
    **_post(Scope.SCHEMA_VALUES, "ui/schemas", "validate"),
    ("GET", "/api/flow_runs/{id}/graph-v2"): Scope.GRAPH,
}
