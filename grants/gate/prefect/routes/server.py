"""The lines of what belongs to the whole server: blocks, variables, limits, automations, settings, pages."""

from grants.catalog.levels import Level
from grants.gate.decision.limits import COMPUTED, DEFINED, LISTED
from grants.gate.decision.types import ANY, Body, Drains, Route
from grants.gate.prefect.guards import server as guards
from grants.gate.prefect.routes.builders import administered, guarded, listed, opened
from grants.gate.prefect.scopes import Scope

VIEW, RUN, MANAGE, WORK, SECRET, ADMIN = Level.VIEW, Level.RUN, Level.MANAGE, Level.WORK, Level.SECRET, Level.ADMIN
STREAM = Body.STREAM
WORKER = ("any:work",)
ALWAYS = Drains.ALWAYS

ROUTES = (
    # Server.
    Route("GET", "/api/health", None),
    Route("GET", "/api/ready", None),
    *opened("GET", "/api/version", "/api/hello", "/api/csrf-token", "/api/admin/version", "/api/admin/settings"),
    *opened("GET", "/api/admin/storage", "/api/observed-states", "/api/collections/views/{view}"),
    *administered("PUT", "/api/admin/storage"),
    *administered("DELETE", "/api/admin/storage"),
    # Pages and descriptions. All other paths outside /api are files of the UI.
    *opened("GET", "/api/openapi.json", "/api/docs", "/api/docs/oauth2-redirect", "/api/redoc"),
    *opened("GET", "/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc", "/ui-settings"),
    *opened("GET", "/api/static/{path:path}", "/v2/{path:path}", "/{path:path}"),
    # Blocks. Types and schemas hold no values.
    *opened("GET", "/api/block_capabilities/", "/api/block_types/{id:uuid}", "/api/block_types/slug/{slug}"),
    *opened("GET", "/api/block_schemas/{id:uuid}", "/api/block_schemas/checksum/{checksum}"),
    *(
        Route(
            "POST",
            path,
            ANY,
            body=Body.JSON,
            guard=guards.open_list_asks,
            tells_nothing=True,
            drains=ALWAYS,
            most=LISTED,
        )
        for path in ("/api/block_types/filter", "/api/block_schemas/filter")
    ),
    *administered("POST", "/api/block_types/", "/api/block_schemas/", most=DEFINED),
    *administered("POST", "/api/block_types/install_system_block_types"),
    *administered("PATCH", "/api/block_types/{id:uuid}", "/api/block_documents/{id:uuid}", most=DEFINED),
    *administered(
        "DELETE", "/api/block_types/{id:uuid}", "/api/block_schemas/{id:uuid}", "/api/block_documents/{id:uuid}"
    ),
    *administered("POST", "/api/block_documents/", most=DEFINED),
    Route(
        "GET", "/api/block_documents/{id:uuid}", SECRET, ("block:path:id",), guard=guards.block_asks, scope=Scope.BLOCK
    ),
    Route(
        "GET",
        "/api/block_types/slug/{slug}/block_documents/name/{block_document_name}",
        SECRET,
        ("block_name:path:slug/block_document_name",),
        guard=guards.block_asks,
        scope=Scope.BLOCK,
    ),
    Route("GET", "/api/block_types/slug/{slug}/block_documents", ANY, scope=Scope.BLOCKS_OF_TYPE),
    *listed(Scope.BLOCKS, "block_documents/filter"),
    *listed(Scope.SERVER_COUNT, "block_documents/count"),
    # Variables, which nothing masks.
    Route("GET", "/api/variables/{id:uuid}", VIEW, WORKER, drains=ALWAYS),
    Route("GET", "/api/variables/name/{name}", VIEW, WORKER, drains=ALWAYS),
    *listed(Scope.SERVER_LIST, "variables/filter"),
    *listed(Scope.SERVER_COUNT, "variables/count"),
    *administered("POST", "/api/variables/"),
    *administered("PATCH", "/api/variables/{id:uuid}", "/api/variables/name/{name}"),
    *administered("DELETE", "/api/variables/{id:uuid}", "/api/variables/name/{name}"),
    # Concurrency limits.
    *(guarded("POST", path, WORK, guards.limit_asks, guards.limit_needs, ALWAYS) for path in guards.LIMITS),
    Route("POST", "/api/v2/concurrency_limits/leases/{lease_id}/renew", WORK, WORKER, STREAM, drains=ALWAYS),
    Route("GET", "/api/concurrency_limits/{id:uuid}", VIEW, WORKER, drains=ALWAYS),
    Route("GET", "/api/concurrency_limits/tag/{tag}", VIEW, WORKER, drains=ALWAYS),
    Route("GET", "/api/v2/concurrency_limits/{id_or_name}", VIEW, WORKER, drains=ALWAYS),
    *listed(Scope.SERVER_LIST, "concurrency_limits/filter", "v2/concurrency_limits/filter"),
    *administered(
        "POST", "/api/concurrency_limits/", "/api/concurrency_limits/tag/{tag}/reset", "/api/v2/concurrency_limits/"
    ),
    *administered("PATCH", "/api/v2/concurrency_limits/{id_or_name}"),
    *administered("DELETE", "/api/concurrency_limits/{id:uuid}", "/api/concurrency_limits/tag/{tag}"),
    *administered("DELETE", "/api/v2/concurrency_limits/{id_or_name}"),
    # Automations act inside the server, where no level is checked.
    *administered("POST", "/api/automations/", most=LISTED),
    *administered("PUT", "/api/automations/{id:uuid}", most=LISTED),
    *administered("PATCH", "/api/automations/{id:uuid}"),
    *administered("DELETE", "/api/automations/{id:uuid}"),
    Route("GET", "/api/automations/{id:uuid}", VIEW, scope=Scope.SERVER),
    Route(
        "GET",
        "/api/automations/related-to/{resource_id}",
        VIEW,
        guard=guards.related_asks,
        needs=guards.related_needs,
        scope=Scope.SERVER_LIST,  # an automation names what it watches and starts, which may be others'
    ),
    guarded("DELETE", "/api/automations/owned-by/{resource_id}", ADMIN, guards.owned_asks, guards.related_needs),
    *listed(Scope.SERVER_LIST, "automations/filter"),
    *listed(Scope.SERVER_COUNT, "automations/count"),
    # Saved searches, task workers.
    *administered("PUT", "/api/saved_searches/", most=LISTED),
    *administered("DELETE", "/api/saved_searches/{id:uuid}"),
    Route("GET", "/api/saved_searches/{id:uuid}", VIEW, scope=Scope.SERVER),
    *listed(Scope.SERVER_LIST, "saved_searches/filter", "task_workers/filter"),
    # What Prefect computes from what it is sent.
    *(
        Route("POST", path, ADMIN, body=Body.JSON, guard=guards.template_asks, most=COMPUTED)
        for path in ("/api/templates/validate", "/api/automations/templates/validate")
    ),
    Route(
        "POST",
        "/api/ui/schemas/validate",
        RUN,
        body=Body.JSON,
        guard=guards.validate_asks,
        scope=Scope.SCHEMA_VALUES,
        most=COMPUTED,
    ),
)
