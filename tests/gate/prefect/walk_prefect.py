"""Prints every route, socket and mount of the installed Prefect server as JSON: run by a test, in a process of its own."""

import json

from prefect.server.api.server import create_app
from starlette.routing import Mount, Route, WebSocketRoute

try:
    from fastapi.routing import iter_route_contexts
except ImportError:  # an older FastAPI, of an older Prefect: the routes as they are
    iter_route_contexts = iter


def walk(app, prefix=""):
    for context in iter_route_contexts(app.routes):
        route, path = getattr(context, "original_route", context), f"{prefix}{context.path}"
        if isinstance(route, Mount):
            if getattr(route.app, "routes", None) is None:  # files
                yield "GET", f"{path}/{{path:path}}"
            else:
                yield from walk(route.app, path)
        elif isinstance(route, WebSocketRoute):
            yield "WS", path
        elif isinstance(route, Route) or context.methods:
            for method in sorted(context.methods):
                yield method, path
        else:
            yield "?", repr(route)
    frontend = getattr(app.router, "_frontend_routes", None)
    for route in frontend.routes if frontend is not None else ():
        yield "GET", prefix + route.path.rstrip("/") + "/{path:path}"


print(json.dumps(list(walk(create_app(ephemeral=False)))))
