"""`python -m portal.demo.prefect_seed`: make pools, deployments and a secret block on the server of PREFECT_API_URL.

A resource that exists is updated and keeps its id.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from prefect.blocks.system import Secret
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectAlreadyExists
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema
from prefect.workers.process import ProcessWorker
from pydantic import SecretStr

FLOWS = Path(__file__).resolve().parent / "flows"
POOLS = {"etl": "Loads production data; a process worker", "adhoc": "Trials and one-offs"}
# deployment -> (flow, pool, tags, description)
DEPLOYMENTS = {
    "nightly": ("orders", "etl", ["prod", "pii"], "Orders of Adyen and Stripe into the warehouse"),
    "backfill": ("orders", "etl", ["prod"], "Orders again, for a range of days"),
    "finance": ("report", "etl", ["prod", "owner:finance"], "The morning report for finance"),
    "trial": ("train", "adhoc", ["trial"], "Trains the churn model on a sample"),
}


async def seed(client: PrefectClient) -> None:
    # A pool without a template would get it from its first worker, but the gate does not let a worker write one: the
    # template decides what others run.
    template = ProcessWorker.get_default_base_job_template()
    for name, description in POOLS.items():
        pool = WorkPoolCreate(name=name, type="process", description=description, base_job_template=template)
        try:
            await client.create_work_pool(pool)
        except ObjectAlreadyExists:
            await client.update_work_pool(name, WorkPoolUpdate(base_job_template=template))
    for name, (flow_name, pool, tags, description) in DEPLOYMENTS.items():
        entrypoint = f"orders.py:{flow_name}"
        flow = load_flow_from_entrypoint(f"{FLOWS}/{entrypoint}")
        await client.create_deployment(
            flow_id=await client.create_flow_from_name(flow.name),
            name=name,
            work_pool_name=pool,
            entrypoint=entrypoint,
            path=str(FLOWS),
            tags=tags,
            description=description,
            parameter_openapi_schema=parameter_schema(flow).model_dump(),
        )


async def main() -> None:
    async with get_client() as client:
        await seed(client)
    await Secret(value=SecretStr("only-for-the-demo")).save("warehouse-password", overwrite=True)


if __name__ == "__main__":
    asyncio.run(main())
