"""Every registered route with a call that is meant, and who may make it: written by hand, for the pure test and the live one.

The world: pool `{pool}` with deployment `{deployment}` (`{flow_name}/{deployment_name}`), its flow run and what hangs
on it; a sibling deployment on the same pool, a sibling pool, a secret block. Fill a call with `call.filled(ids)`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tests.gate.prefect.matrix_bodies import BODIES

# Who calls. `view` … `work` are grants on the pool, `secret` on the block, `admin` on the server; the siblings hold
# `manage` on the other deployment of the same pool, and on the other pool.
PRINCIPALS = (
    *("none", "no_grant", "sibling_deployment", "sibling_pool"),
    *("view", "run", "operate", "manage", "work", "secret", "admin"),
)
_SIGNED_IN = frozenset(PRINCIPALS) - {"none"}
_SIBLINGS = frozenset({"sibling_deployment", "sibling_pool"})

# By class: who passes. By hand; nothing of this comes from the table under test.
PASS: dict[str, frozenset[str]] = {
    "public": frozenset(PRINCIPALS),
    "any": _SIGNED_IN,
    "list": _SIGNED_IN,  # of what each may see
    "view": frozenset({"view", "run", "operate", "manage", "work", "admin"}),
    "run": frozenset({"run", "operate", "manage", "work", "admin"}),
    "operate": frozenset({"operate", "manage", "admin"}),
    "manage": frozenset({"manage", "admin"}),
    "work": frozenset({"work"}),
    "secret": frozenset({"secret"}),
    "server": frozenset({"admin"}),  # `view` on the server, or `admin`: nobody else here holds anything there
    "server work": frozenset(),  # background tasks, ad-hoc runs: none here holds `work` on the server
    "a worker": frozenset({"work"}),  # `work` anywhere
    "a runner": _SIBLINGS | {"run", "operate", "manage", "work", "admin"},  # `run` anywhere
    "a worker or who reads secrets": frozenset({"work", "secret"}),
    "a worker or the server": frozenset({"work", "admin"}),
    "a worker or deployer": _SIBLINGS | {"manage", "work", "admin"},
}


class Call(NamedTuple):
    method: str
    template: str  # of the route
    may: str  # a class of PASS
    path: str  # with {placeholders}
    body: Any = None

    @property
    def passes(self) -> frozenset[str]:
        return PASS[self.may]

    def filled(self, ids: Mapping[str, str]) -> Call:
        """With real ids and names for the placeholders."""
        return self._replace(path=_fill(self.path, ids), body=_fill(self.body, ids))


def _fill(value: Any, ids: Mapping[str, str]) -> Any:
    match value:
        case str():
            for name, text in ids.items():
                value = value.replace(f"{{{name}}}", text)
            return value
        case dict():
            return {key: _fill(item, ids) for key, item in value.items()}
        case list():
            return [_fill(item, ids) for item in value]
    return value


_OF = {  # what {id} means below a collection
    "flows": "flow",
    "flow_runs": "flow_run",
    "task_runs": "task_run",
    "deployments": "deployment",
    "work_queues": "queue",
    "artifacts": "artifact",
    "block_documents": "block",
    "block_types": "block_type",
    "block_schemas": "block_schema",
    "variables": "variable",
    "concurrency_limits": "limit",
    "automations": "automation",
    "saved_searches": "saved_search",
    "flow_run_states": "flow_run_state",
    "task_run_states": "task_run_state",
}

_PLACEHOLDERS = {
    "schedule_id:uuid": "{schedule}",
    "work_pool_name": "{pool}",
    "block_document_name": "{block_name}",
    "path:path": "x.js",
    "resource_id": "prefect.deployment.{deployment}",
    "id_or_name": "{limit_name}",
    "lease_id": "{lease}",
    "view": "aggregate-worker-metadata",
    "countable": "day",
}


def _calls(may: str, text: str) -> Iterator[Call]:
    """Lines of "METHOD template", with the query after it where one is needed."""
    for line in text.strip().splitlines():
        method, _, rest = line.strip().partition(" ")
        template, _, query = rest.partition(" ")
        path = template
        for parameter, placeholder in _PLACEHOLDERS.items():
            path = path.replace(f"{{{parameter}}}", placeholder)
        if "{name}" in path:
            path = path.replace("{name}", _named(template))
        if "{id:uuid}" in path:
            path = path.replace("{id:uuid}", f"{{{_OF[next(part for part in template.split('/') if part in _OF)]}}}")
        prefix = "" if template.startswith("//") else "/api"
        template, path = template.removeprefix("/" if not prefix else ""), path.removeprefix("/" if not prefix else "")
        yield Call(
            method, prefix + template, may, prefix + path + query, BODIES.get(f"{method} {template}", _usual(method))
        )


def _named(template: str) -> str:
    for part, name in (("/queues/{name}", "{queue_name}"), ("/workers/{name}", "{worker}")):
        if template.endswith(part):
            return name
    kind = template.split("/")[1]
    names = {"flows": "{flow_name}", "variables": "{variable_name}", "work_queues": "default", "work_pools": "{pool}"}
    return names[kind]


def _usual(method: str) -> Any:
    return {} if method in {"POST", "PUT", "PATCH"} else None


CALLS: tuple[Call, ...] = (
    *_calls("public", "GET /health\nGET /ready"),
    *_calls(
        "any",
        """
        GET /version
        GET /hello
        GET /csrf-token ?client={new_id}
        GET /admin/version
        GET /admin/settings
        GET /admin/storage
        GET /observed-states
        GET /collections/views/{view}
        GET /openapi.json
        GET /docs
        GET /docs/oauth2-redirect
        GET /redoc
        GET //openapi.json
        GET //docs
        GET //docs/oauth2-redirect
        GET //redoc
        GET //ui-settings
        GET //{path:path}
        GET //v2/{path:path}
        GET /static/{path:path}
        GET /block_capabilities/
        GET /block_types/{id:uuid}
        GET /block_types/slug/{slug}
        GET /block_schemas/{id:uuid}
        GET /block_schemas/checksum/{checksum}
        POST /block_types/filter
        POST /block_schemas/filter
        WS /logs/out
        WS /events/out
        """,
    ),
    *_calls(
        "list",
        """
        POST /flows/count
        POST /flows/filter
        POST /flows/paginate
        POST /flow_runs/count
        POST /flow_runs/filter
        POST /flow_runs/history
        POST /flow_runs/lateness
        POST /flow_runs/paginate
        POST /task_runs/count
        POST /task_runs/filter
        POST /task_runs/history
        POST /task_runs/paginate
        POST /deployments/count
        POST /deployments/filter
        POST /deployments/paginate
        POST /artifacts/count
        POST /artifacts/filter
        POST /artifacts/latest/count
        POST /artifacts/latest/filter
        POST /logs/filter
        POST /work_pools/count
        POST /work_pools/filter
        POST /work_queues/filter
        POST /events/filter
        POST /events/count-by/{countable}
        GET /events/filter/next ?page-token={page_token}
        POST /ui/flows/count-deployments
        POST /ui/flows/next-runs
        POST /ui/flow_runs/count-task-runs
        POST /ui/flow_runs/history
        POST /ui/task_runs/count
        POST /ui/task_runs/dashboard/counts
        POST /concurrency_limits/filter
        POST /v2/concurrency_limits/filter
        POST /saved_searches/filter
        POST /task_workers/filter
        POST /automations/filter
        POST /automations/count
        POST /variables/filter
        POST /variables/count
        POST /block_documents/filter
        POST /block_documents/count
        GET /block_types/slug/{slug}/block_documents
        """,
    ),
    *_calls(
        "view",
        """
        GET /flows/{id:uuid}
        GET /flows/name/{name}
        GET /flow_runs/{id:uuid}
        GET /flow_runs/{id:uuid}/graph
        GET /flow_runs/{id:uuid}/graph-v2
        GET /flow_runs/{id:uuid}/logs/download
        GET /flow_runs/{id:uuid}/input/{key}
        POST /flow_runs/{id:uuid}/input/filter
        GET /flow_run_states/ ?flow_run_id={flow_run}
        GET /task_run_states/ ?task_run_id={task_run}
        GET /task_runs/{id:uuid}
        GET /ui/task_runs/{id:uuid}
        GET /artifacts/{id:uuid}
        GET /artifacts/{key}/latest
        GET /deployments/{id:uuid}
        GET /deployments/{id:uuid}/schedules
        GET /deployments/{id:uuid}/work_queue_check
        GET /deployments/name/{flow_name}/{deployment_name}
        GET /automations/related-to/{resource_id}
        GET /work_pools/{name}
        POST /work_pools/{name}/concurrency_status
        POST /work_pools/{work_pool_name}/workers/filter
        POST /work_pools/{work_pool_name}/queues/filter
        GET /work_pools/{work_pool_name}/queues/{name}
        GET /work_queues/{id:uuid}
        GET /work_queues/{id:uuid}/status
        POST /work_queues/{id:uuid}/concurrency_status
        """,
    ),
    *_calls(
        "run",
        """
        POST /deployments/{id:uuid}/create_flow_run
        POST /deployments/{id:uuid}/create_flow_run/bulk
        POST /flow_runs/{id:uuid}/set_state
        POST /flow_runs/{id:uuid}/resume
        POST /flow_runs/{id:uuid}/input
        """,
    ),
    *_calls(
        "operate",
        """
        POST /deployments/{id:uuid}/schedule
        POST /deployments/{id:uuid}/schedules
        PATCH /deployments/{id:uuid}/schedules/{schedule_id:uuid}
        DELETE /deployments/{id:uuid}/schedules/{schedule_id:uuid}
        POST /deployments/{id:uuid}/pause_deployment
        POST /deployments/{id:uuid}/resume_deployment
        DELETE /work_pools/{work_pool_name}/workers/{name}
        POST /work_pools/{work_pool_name}/queues
        PATCH /work_pools/{work_pool_name}/queues/{name}
        DELETE /work_pools/{work_pool_name}/queues/{name}
        PATCH /work_queues/{id:uuid}
        DELETE /work_queues/{id:uuid}
        """,
    ),
    *_calls(
        "manage",
        """
        POST /deployments/
        PATCH /deployments/{id:uuid}
        DELETE /deployments/{id:uuid}
        DELETE /automations/owned-by/{resource_id}
        DELETE /flow_runs/{id:uuid}
        DELETE /task_runs/{id:uuid}
        DELETE /artifacts/{id:uuid}
        PATCH /work_pools/{name}
        """,
    ),
    *_calls(
        "work",
        """
        POST /flow_runs/
        PATCH /flow_runs/{id:uuid}
        PATCH /flow_runs/{id:uuid}/labels
        DELETE /flow_runs/{id:uuid}/input/{key}
        POST /task_runs/
        PATCH /task_runs/{id:uuid}
        POST /task_runs/{id:uuid}/set_state
        POST /logs/
        POST /artifacts/
        PATCH /artifacts/{id:uuid}
        POST /events
        POST /deployments/get_scheduled_flow_runs
        POST /work_pools/{name}/get_scheduled_flow_runs
        POST /work_pools/{work_pool_name}/workers/heartbeat
        WS /work_pools/{work_pool_name}/workers/connect
        POST /work_queues/{id:uuid}/get_runs
        """,
    ),
    *_calls("a worker or who reads secrets", "WS /events/in"),
    *_calls(
        "a worker",
        """
        POST /concurrency_limits/increment
        POST /concurrency_limits/decrement
        POST /v2/concurrency_limits/increment
        POST /v2/concurrency_limits/increment-with-lease
        POST /v2/concurrency_limits/decrement
        POST /v2/concurrency_limits/decrement-with-lease
        POST /v2/concurrency_limits/leases/{lease_id}/renew
        """,
    ),
    *_calls("a worker or deployer", "POST /flows/"),
    *_calls(
        "a worker or the server",
        """
        GET /variables/{id:uuid}
        GET /variables/name/{name}
        GET /concurrency_limits/{id:uuid}
        GET /concurrency_limits/tag/{tag}
        GET /v2/concurrency_limits/{id_or_name}
        """,
    ),
    *_calls("server work", "WS /task_runs/subscriptions/scheduled"),
    *_calls("a runner", "POST /ui/schemas/validate"),
    *_calls("secret", "GET /block_documents/{id:uuid} ?include_secrets=true"),
    *_calls("secret", "GET /block_types/slug/{slug}/block_documents/name/{block_document_name} ?include_secrets=true"),
    *_calls(
        "server",
        """
        GET /flow_run_states/{id:uuid}
        GET /task_run_states/{id:uuid}
        GET /automations/{id:uuid}
        GET /saved_searches/{id:uuid}
        GET /work_queues/name/{name}
        POST /templates/validate
        POST /automations/templates/validate
        PUT /admin/storage
        DELETE /admin/storage
        POST /flow_runs/bulk_delete
        POST /flow_runs/bulk_set_state
        PATCH /flows/{id:uuid}
        DELETE /flows/{id:uuid}
        POST /flows/bulk_delete
        POST /deployments/bulk_delete
        POST /work_pools/
        DELETE /work_pools/{name}
        POST /work_queues/
        POST /block_types/
        PATCH /block_types/{id:uuid}
        DELETE /block_types/{id:uuid}
        POST /block_types/install_system_block_types
        POST /block_schemas/
        DELETE /block_schemas/{id:uuid}
        POST /block_documents/
        PATCH /block_documents/{id:uuid}
        DELETE /block_documents/{id:uuid}
        POST /variables/
        PATCH /variables/{id:uuid}
        DELETE /variables/{id:uuid}
        PATCH /variables/name/{name}
        DELETE /variables/name/{name}
        POST /concurrency_limits/
        DELETE /concurrency_limits/{id:uuid}
        DELETE /concurrency_limits/tag/{tag}
        POST /concurrency_limits/tag/{tag}/reset
        POST /v2/concurrency_limits/
        PATCH /v2/concurrency_limits/{id_or_name}
        DELETE /v2/concurrency_limits/{id_or_name}
        POST /automations/
        PUT /automations/{id:uuid}
        PATCH /automations/{id:uuid}
        DELETE /automations/{id:uuid}
        PUT /saved_searches/
        DELETE /saved_searches/{id:uuid}
        """,
    ),
)
