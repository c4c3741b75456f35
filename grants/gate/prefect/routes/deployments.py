"""The lines of flows, deployments, work pools and queues."""

from grants.catalog.levels import Level
from grants.gate.decision.limits import COMPUTED, DEFINED, LARGE, LISTED
from grants.gate.decision.types import Body, Drains, Route
from grants.gate.prefect.guards import deployments as guards
from grants.gate.prefect.routes.builders import guarded, listed
from grants.gate.prefect.scopes import Scope

VIEW, RUN, OPERATE, MANAGE = Level.VIEW, Level.RUN, Level.OPERATE, Level.MANAGE
WORK, ADMIN = Level.WORK, Level.ADMIN
JSON, STREAM = Body.JSON, Body.STREAM
DEPLOYMENT, NAME, POOL = ("deployment:path:id",), ("pool:path:name",), ("pool:path:work_pool_name",)
QUEUE, POOL_QUEUE = ("queue:path:id",), ("pool_queue:path:work_pool_name/name",)
SCHEDULE = "/api/deployments/{id:uuid}/schedules/{schedule_id:uuid}"
EMPTY, ALWAYS = Drains.EMPTY, Drains.ALWAYS

ROUTES = (
    # Flows. Making one by its name, or finding that it is there, is how every deployment and sub-flow begins.
    Route("POST", "/api/flows/", WORK, ("any:work", "any:manage"), STREAM, drains=ALWAYS),
    Route("GET", "/api/flows/{id:uuid}", VIEW, ("flow:path:id", "any:work"), drains=ALWAYS),
    Route("GET", "/api/flows/name/{name}", VIEW, ("flow_name:path:name", "any:work"), drains=ALWAYS),
    Route("PATCH", "/api/flows/{id:uuid}", ADMIN, body=STREAM),
    Route("DELETE", "/api/flows/{id:uuid}", ADMIN),
    Route("POST", "/api/flows/bulk_delete", ADMIN, body=STREAM, most=LISTED),
    *listed(Scope.FLOWS, "flows/count", "flows/filter", "flows/paginate"),
    *listed(Scope.DEPLOYMENTS_OF_FLOWS, "ui/flows/count-deployments"),
    *listed(Scope.NEXT_RUNS_OF_FLOWS, "ui/flows/next-runs"),
    # Deployments.
    guarded("POST", "/api/deployments/", MANAGE, guards.upsert_asks, guards.upsert_needs, most=DEFINED),
    Route("GET", "/api/deployments/{id:uuid}", VIEW, DEPLOYMENT, drains=ALWAYS),
    guarded("PATCH", "/api/deployments/{id:uuid}", MANAGE, guards.update_asks, guards.update_needs, most=DEFINED),
    Route("DELETE", "/api/deployments/{id:uuid}", MANAGE, DEPLOYMENT, guard=guards.delete_asks),
    Route(
        "GET",
        "/api/deployments/name/{flow_name}/{deployment_name}",
        VIEW,
        ("deployment_name:path:flow_name/deployment_name",),
    ),
    Route("GET", "/api/deployments/{id:uuid}/schedules", VIEW, DEPLOYMENT),
    guarded("POST", "/api/deployments/{id:uuid}/schedules", OPERATE, guards.schedule_asks, guards.schedule_needs),
    guarded("PATCH", SCHEDULE, OPERATE, guards.schedule_asks, guards.schedule_needs),
    Route("DELETE", SCHEDULE, OPERATE, DEPLOYMENT),
    Route("GET", "/api/deployments/{id:uuid}/work_queue_check", VIEW, DEPLOYMENT, scope=Scope.QUEUES_OF_DEPLOYMENT),
    Route(
        "POST",
        "/api/deployments/{id:uuid}/schedule",
        OPERATE,
        DEPLOYMENT,
        JSON,
        guards.ahead_asks,
        most=COMPUTED,
    ),
    Route("POST", "/api/deployments/{id:uuid}/pause_deployment", OPERATE, DEPLOYMENT, STREAM, most=COMPUTED),
    Route("POST", "/api/deployments/{id:uuid}/resume_deployment", OPERATE, DEPLOYMENT, STREAM, most=COMPUTED),
    guarded("POST", "/api/deployments/{id:uuid}/create_flow_run", RUN, guards.run_asks, guards.run_needs, most=DEFINED),
    guarded(
        "POST", "/api/deployments/{id:uuid}/create_flow_run/bulk", RUN, guards.run_asks, guards.run_needs, most=LARGE
    ),
    guarded("POST", "/api/deployments/get_scheduled_flow_runs", WORK, guards.polled_asks, guards.polled, EMPTY),
    Route("POST", "/api/deployments/bulk_delete", ADMIN, body=STREAM, most=LISTED),
    *listed(Scope.DEPLOYMENTS, "deployments/count", "deployments/filter", "deployments/paginate"),
    # Work pools.
    Route("POST", "/api/work_pools/", ADMIN, body=STREAM, most=DEFINED),
    Route("GET", "/api/work_pools/{name}", VIEW, NAME, drains=ALWAYS),
    guarded("PATCH", "/api/work_pools/{name}", MANAGE, guards.pool_update_asks, guards.pool_update_needs, most=DEFINED),
    Route("DELETE", "/api/work_pools/{name}", ADMIN),
    Route("POST", "/api/work_pools/{name}/concurrency_status", VIEW, NAME, STREAM),
    Route("POST", "/api/work_pools/{name}/get_scheduled_flow_runs", WORK, NAME, STREAM, drains=EMPTY),
    *listed(Scope.WORK_POOLS, "work_pools/count", "work_pools/filter"),
    # Workers.
    Route("POST", "/api/work_pools/{work_pool_name}/workers/heartbeat", WORK, POOL, STREAM, drains=ALWAYS),
    Route("POST", "/api/work_pools/{work_pool_name}/workers/filter", VIEW, POOL, STREAM),
    Route("DELETE", "/api/work_pools/{work_pool_name}/workers/{name}", OPERATE, POOL),
    Route("WS", "/api/work_pools/{work_pool_name}/workers/connect", WORK, POOL, drains=ALWAYS),
    # Queues. Those without a pool in the path are found by id; the ones of the default pool are the server's.
    Route("POST", "/api/work_pools/{work_pool_name}/queues", OPERATE, POOL, JSON, guards.queue_asks),
    Route("POST", "/api/work_pools/{work_pool_name}/queues/filter", VIEW, POOL, STREAM, drains=ALWAYS),
    Route("GET", "/api/work_pools/{work_pool_name}/queues/{name}", VIEW, POOL_QUEUE, drains=ALWAYS),
    Route("PATCH", "/api/work_pools/{work_pool_name}/queues/{name}", OPERATE, POOL_QUEUE, JSON, guards.queue_asks),
    Route("DELETE", "/api/work_pools/{work_pool_name}/queues/{name}", OPERATE, POOL_QUEUE),
    Route("POST", "/api/work_queues/", ADMIN, body=STREAM),
    Route("GET", "/api/work_queues/{id:uuid}", VIEW, QUEUE, drains=ALWAYS),
    Route("PATCH", "/api/work_queues/{id:uuid}", OPERATE, QUEUE, JSON, guards.queue_asks),
    Route("DELETE", "/api/work_queues/{id:uuid}", OPERATE, QUEUE),
    Route("GET", "/api/work_queues/{id:uuid}/status", VIEW, QUEUE),
    Route("POST", "/api/work_queues/{id:uuid}/concurrency_status", VIEW, QUEUE, STREAM),
    Route("POST", "/api/work_queues/{id:uuid}/get_runs", WORK, QUEUE, STREAM, drains=EMPTY),
    Route("GET", "/api/work_queues/name/{name}", VIEW),
    *listed(Scope.WORK_QUEUES, "work_queues/filter"),
)
