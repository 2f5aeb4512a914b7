"""Asks for bulk actions over the API, and follows them."""

from typing import Any

import httpx

from tests.support.instances import StartInstance
from tests.support.waiting import until

ENDED = {"finished", "cancelled", "failed"}


async def ask(api: httpx.AsyncClient, **body: Any) -> dict[str, Any]:  # noqa: ANN401
    answer = await api.post("/v1/bulk", json=body)
    assert answer.status_code == 202, answer.text
    assert answer.headers["Location"] == f"/v1/bulk/{answer.json()['id']}"
    asked: dict[str, Any] = answer.json()
    return asked


async def ended(api: httpx.AsyncClient, id: str) -> dict[str, Any]:
    """Wait until an action has ended, and return how."""
    found: dict[str, Any] = {}

    async def has_ended() -> bool:
        found.update((await api.get(f"/v1/bulk/{id}")).json())
        return found["state"] in ENDED

    await until(has_ended, "the bulk action ends", within=60)
    return found


async def carried_out(
    api: httpx.AsyncClient,
    instance: StartInstance,
    **body: Any,  # noqa: ANN401
) -> dict[str, Any]:
    """Ask for an action and have an instance carry it out."""
    asked = await ask(api, **body)
    async with instance():
        return await ended(api, asked["id"])
