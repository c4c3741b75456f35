"""Run with steps (JSON) on stdin, in an environment that names the server: Prefect's own client does them."""

from __future__ import annotations

import asyncio
import json
import sys

from prefect.blocks.core import Block
from prefect.blocks.system import Secret
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentUpdate, WorkPoolCreate


async def pool(client: PrefectClient, name: str, description: str | None = None) -> str:
    made = await client.create_work_pool(WorkPoolCreate(name=name, type="process", description=description))
    return str(made.id)


async def deployment(
    client: PrefectClient,
    flow: str,
    name: str,
    *,
    pool: str | None = None,
    tags: tuple[str, ...] = (),
    description: str = "",
) -> str:
    flow_id = await client.create_flow_from_name(flow)
    made = await client.create_deployment(flow_id, name, work_pool_name=pool, tags=list(tags), description=description)
    return str(made)


async def secret(client: PrefectClient, name: str, value: str) -> str:
    return str(await Secret(value=value).save(name))


class Keyring(Block):
    """A block that is made of another one."""

    note: str
    inner: Secret


async def keyring(client: PrefectClient, name: str, secret: str) -> str:
    return str(await Keyring(note=f"note of {name}", inner=await Secret.load(secret)).save(name))


async def delete_deployment(client: PrefectClient, id: str) -> None:  # noqa: A002 (the client's word)
    await client.delete_deployment(id)


async def delete_pool(client: PrefectClient, name: str) -> None:
    await client.delete_work_pool(name)


async def retag(client: PrefectClient, id: str, tags: list[str]) -> None:  # noqa: A002
    await client.update_deployment(id, DeploymentUpdate(tags=tags))


STEPS = {step.__name__: step for step in (pool, deployment, secret, keyring, delete_deployment, delete_pool, retag)}


async def main() -> None:
    results = []
    async with get_client() as client:
        results.extend([await STEPS[step.pop("do")](client, **step) for step in json.load(sys.stdin)])
    print(json.dumps(results))


asyncio.run(main())
