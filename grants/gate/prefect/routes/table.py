"""The table: a line for each route, socket and mount that a Prefect server registers. No other call passes.

A test compares these lines with what the installed server registers, and has the reason for each difference.
"""

from __future__ import annotations

from grants.gate.prefect.routes import deployments as routes_deployments
from grants.gate.prefect.routes import runs as routes_runs
from grants.gate.prefect.routes import server as routes_server

ROUTES = (*routes_runs.ROUTES, *routes_deployments.ROUTES, *routes_server.ROUTES)
