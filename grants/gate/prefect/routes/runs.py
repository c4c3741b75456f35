"""The lines of runs, their states, logs, artifacts and events."""

from grants.catalog.levels import Level
from grants.gate.decision.limits import DEFINED, LARGE, LISTED
from grants.gate.decision.types import ANY, Body, Drains, Route
from grants.gate.prefect.guards import runs as guards
from grants.gate.prefect.routes.builders import guarded, listed
from grants.gate.prefect.scopes import Scope

VIEW, RUN, MANAGE, WORK, ADMIN = Level.VIEW, Level.RUN, Level.MANAGE, Level.WORK, Level.ADMIN
JSON, STREAM = Body.JSON, Body.STREAM
FLOW_RUN, TASK_RUN, ARTIFACT = ("flow_run:path:id",), ("task_run:path:id",), ("artifact:path:id",)
ONGOING, ALWAYS = Drains.RUN, Drains.ALWAYS

ROUTES = (
    # Flow runs.
    guarded("POST", "/api/flow_runs/", WORK, guards.create_asks, guards.create_needs, ONGOING, DEFINED),
    Route("GET", "/api/flow_runs/{id:uuid}", VIEW, FLOW_RUN, drains=ONGOING),
    Route("PATCH", "/api/flow_runs/{id:uuid}", WORK, FLOW_RUN, JSON, guards.patch_asks, drains=ONGOING, most=DEFINED),
    Route("DELETE", "/api/flow_runs/{id:uuid}", MANAGE, FLOW_RUN),
    Route("GET", "/api/flow_runs/{id:uuid}/graph", VIEW, FLOW_RUN),
    Route("GET", "/api/flow_runs/{id:uuid}/graph-v2", VIEW, FLOW_RUN, scope=Scope.GRAPH),
    Route("GET", "/api/flow_runs/{id:uuid}/logs/download", VIEW, FLOW_RUN),
    Route(
        "POST",
        "/api/flow_runs/{id:uuid}/set_state",
        RUN,
        FLOW_RUN,
        JSON,
        guards.set_state_asks,
        drains=ONGOING,
        most=DEFINED,
    ),
    Route("POST", "/api/flow_runs/{id:uuid}/resume", RUN, FLOW_RUN, JSON, guards.resume_asks, most=DEFINED),
    Route(
        "POST", "/api/flow_runs/{id:uuid}/input", RUN, FLOW_RUN, JSON, guards.input_asks, drains=ONGOING, most=DEFINED
    ),
    Route("POST", "/api/flow_runs/{id:uuid}/input/filter", VIEW, FLOW_RUN, STREAM, drains=ONGOING),
    Route("GET", "/api/flow_runs/{id:uuid}/input/{key}", VIEW, FLOW_RUN, drains=ONGOING),
    Route("DELETE", "/api/flow_runs/{id:uuid}/input/{key}", WORK, FLOW_RUN, drains=ONGOING),
    Route("PATCH", "/api/flow_runs/{id:uuid}/labels", WORK, FLOW_RUN, STREAM, drains=ONGOING),
    Route("POST", "/api/flow_runs/bulk_delete", ADMIN, body=STREAM, most=LISTED),
    Route("POST", "/api/flow_runs/bulk_set_state", ADMIN, body=STREAM, most=LISTED),
    *listed(Scope.FLOW_RUNS, "flow_runs/count", "flow_runs/filter", "flow_runs/lateness", "flow_runs/paginate"),
    *listed(Scope.FLOW_RUN_HISTORY, "flow_runs/history"),
    # Task runs.
    guarded("POST", "/api/task_runs/", WORK, guards.task_run_asks, guards.task_run_needs, ONGOING, DEFINED),
    Route("GET", "/api/task_runs/{id:uuid}", VIEW, TASK_RUN, drains=ONGOING),
    Route("PATCH", "/api/task_runs/{id:uuid}", WORK, TASK_RUN, STREAM, drains=ONGOING),
    Route("DELETE", "/api/task_runs/{id:uuid}", MANAGE, TASK_RUN),
    Route("POST", "/api/task_runs/{id:uuid}/set_state", WORK, TASK_RUN, STREAM, drains=ONGOING, most=DEFINED),
    Route("WS", "/api/task_runs/subscriptions/scheduled", WORK),
    Route("GET", "/api/ui/task_runs/{id:uuid}", VIEW, TASK_RUN),
    *listed(Scope.TASK_RUNS, "task_runs/count", "task_runs/filter", "task_runs/paginate"),
    *listed(Scope.TASK_RUN_HISTORY, "task_runs/history"),
    # States. Prefect does not tell the run of a state that is given by its id.
    Route("GET", "/api/flow_run_states/", VIEW, ("flow_run:query:flow_run_id",), drains=ONGOING),
    Route("GET", "/api/flow_run_states/{id:uuid}", VIEW),
    Route("GET", "/api/task_run_states/", VIEW, ("task_run:query:task_run_id",), drains=ONGOING),
    Route("GET", "/api/task_run_states/{id:uuid}", VIEW),
    # Logs and artifacts.
    guarded("POST", "/api/logs/", WORK, guards.logs_asks, guards.logs_needs, ONGOING, LARGE),
    Route("WS", "/api/logs/out", ANY, scope=Scope.LOGS_OUT, drains=ALWAYS),
    *listed(Scope.LOGS, "logs/filter"),
    guarded("POST", "/api/artifacts/", WORK, guards.artifact_asks, guards.artifact_needs, ONGOING, LARGE),
    Route("GET", "/api/artifacts/{id:uuid}", VIEW, ARTIFACT, drains=ONGOING),
    Route("PATCH", "/api/artifacts/{id:uuid}", WORK, ARTIFACT, STREAM, drains=ONGOING, most=LARGE),
    Route("DELETE", "/api/artifacts/{id:uuid}", MANAGE, ARTIFACT),
    Route("GET", "/api/artifacts/{key}/latest", VIEW, ("artifact_key:path:key",)),
    *listed(
        Scope.ARTIFACTS, "artifacts/count", "artifacts/filter", "artifacts/latest/count", "artifacts/latest/filter"
    ),
    # Events. A socket's messages are judged one by one (socket_messages.py); to open it takes `work` on anything.
    guarded("POST", "/api/events", WORK, guards.events_asks, guards.events_needs, ONGOING, LARGE),
    Route("WS", "/api/events/in", WORK, ("any:work", "any:secret"), drains=ONGOING),
    Route("WS", "/api/events/out", ANY, scope=Scope.EVENTS_OUT, drains=ALWAYS),
    *listed(Scope.EVENTS, "events/filter"),
    *listed(Scope.EVENT_COUNTS, "events/count-by/{countable}"),
    Route("GET", "/api/events/filter/next", ANY, scope=Scope.EVENT_PAGE, drains=ALWAYS),
    # What the UI counts.
    *listed(Scope.TASK_RUNS_OF_RUNS, "ui/flow_runs/count-task-runs"),
    *listed(Scope.UI_FLOW_RUN_HISTORY, "ui/flow_runs/history"),
    *listed(Scope.TASK_RUNS, "ui/task_runs/count"),
    *listed(Scope.TASK_RUN_DASHBOARD, "ui/task_runs/dashboard/counts"),
)
