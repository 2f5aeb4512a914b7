"""API keys over HTTP and on the command line: shown once, listed without, revoked."""

import asyncio
import os
import re
import subprocess
import sys

import asyncpg
import httpx
import pytest
from msgspec import json

from app.core.access.api_key import digest_of
from tests.support.api import fields
from tests.support.cluster import ROOT, Process
from tests.support.waiting import until

KEY = re.compile(r"tocsin_[0-9a-f]{12}_[0-9a-f]{64}")
FIELDS = {
    *("id", "name", "prefix", "scopes"),
    *("created_at", "expires_at", "last_used_at", "revoked_at"),
    *("max_jobs", "min_interval_seconds", "allowed_hosts", "default_ends_in_seconds"),
}


def tocsin(database_url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-m", "app", *arguments],
        env=os.environ | {"TOCSIN_DATABASE_URL": database_url},
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
    )


async def command(database_url: str, *arguments: str) -> str:
    done = await asyncio.to_thread(tocsin, database_url, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def made(api: httpx.AsyncClient, name: str = "root", scope: str = "admin") -> str:
    answer = await api.post("/v1/keys", json={"name": name, "scopes": [scope]})
    assert answer.status_code == 201
    key: str = answer.json()["key"]
    return key


@pytest.fixture
async def admin(api: httpx.AsyncClient) -> httpx.AsyncClient:
    """Give a client that has a key of scope admin."""
    api.headers["Authorization"] = f"Bearer {await made(api)}"
    return api


async def test_a_new_key_is_shown_once_and_only_its_digest_is_kept(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    body = {"name": "deployment", "scopes": ["write"], "expires_in_seconds": 3600}

    answer = await api.post("/v1/keys", json=body)

    key = answer.json()["key"]
    assert KEY.fullmatch(key)
    assert answer.json().keys() == FIELDS | {"key"}
    assert answer.headers["Location"] == f"/v1/keys/{answer.json()['prefix']}"
    row = await connection.fetchrow("select * from tocsin.api_keys")
    assert row is not None
    assert row["hash"] == digest_of(key)
    assert (row["expires_at"] - row["created_at"]).total_seconds() == pytest.approx(3600, abs=1)
    assert key[-64:] not in str(dict(row))


async def test_keys_are_listed_and_read_without_their_secret(admin: httpx.AsyncClient) -> None:
    await made(admin, "ann", "read")

    listed = await admin.get("/v1/keys")
    ann = await admin.get("/v1/keys/ann")

    assert [one["name"] for one in listed.json()["items"]] == ["ann", "root"]
    assert ann.json().keys() == FIELDS
    assert ann.json() == (await admin.get(f"/v1/keys/{ann.json()['prefix']}")).json()
    assert not KEY.search(listed.text + ann.text)


async def test_lists_of_keys_have_pages(admin: httpx.AsyncClient) -> None:
    await made(admin, "ann", "read")

    first = (await admin.get("/v1/keys", params={"limit": 1})).json()
    second = (
        await admin.get("/v1/keys", params={"limit": 1, "cursor": first["next_cursor"]})
    ).json()

    assert [one["name"] for page in (first, second) for one in page["items"]] == ["ann", "root"]
    assert second["next_cursor"] is None


async def test_a_name_is_free_again_once_its_key_is_revoked(admin: httpx.AsyncClient) -> None:
    await made(admin, "ann")
    taken = await admin.post("/v1/keys", json={"name": "ann", "scopes": ["read"]})
    first = (await admin.get("/v1/keys/ann")).json()["prefix"]

    revoked = [(await admin.delete(f"/v1/keys/{one}")).status_code for one in ("ann", first)]

    assert (taken.status_code, fields(taken)) == (409, ["name"])
    assert revoked == [204, 204]
    await made(admin, "ann")
    assert (await admin.get("/v1/keys/ann")).json()["prefix"] != first
    assert (await admin.get(f"/v1/keys/{first}")).json()["revoked_at"]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"scopes": ["read"]}, "name"),
        ({"name": "", "scopes": ["read"]}, "name"),
        ({"name": "x" * 201, "scopes": ["read"]}, "name"),
        ({"name": "a/b", "scopes": ["read"]}, "name"),
        ({"name": "a\n", "scopes": ["read"]}, "name"),
        ({"name": "a\x90", "scopes": ["read"]}, "name"),
        ({"name": "x"}, "scopes"),
        ({"name": "x", "scopes": []}, "scopes"),
        ({"name": "x", "scopes": ["root"]}, "scopes[0]"),
        ({"name": "x", "scopes": ["read"], "expires_in_seconds": 0}, "expires_in_seconds"),
        ({"name": "x", "scopes": ["read"], "key": "tocsin_"}, "key"),
    ],
)
async def test_what_no_key_can_be_is_refused_by_name(
    module_api: httpx.AsyncClient, body: dict[str, object], field: str
) -> None:
    answer = await module_api.post("/v1/keys", json=body)

    assert answer.status_code == 422
    assert fields(answer) == [field]


@pytest.mark.parametrize("reference", ["none", "000000000000", "%00", "a%20b"])
async def test_there_is_no_such_key(api: httpx.AsyncClient, reference: str) -> None:
    for method in ("GET", "DELETE"):
        answer = await api.request(method, f"/v1/keys/{reference}")
        assert (answer.status_code, answer.json()["type"][-13:]) == (404, "key-not-found")


async def test_the_use_of_a_key_is_noted_once_a_minute(
    admin: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    async def last_used() -> object:
        return (await admin.get("/v1/keys/root")).json()["last_used_at"]

    first = await last_used()
    assert first is not None
    assert await last_used() == first
    writes = "select xmin::text from tocsin.api_keys"
    before = await connection.fetchval(writes)
    await asyncio.gather(*(admin.get("/v1/jobs") for _ in range(20)))
    assert await connection.fetchval(writes) == before


async def test_a_key_whose_row_somebody_has_locked_works_all_the_same(
    api: httpx.AsyncClient, connection: asyncpg.Connection
) -> None:
    key = await made(api)
    async with connection.transaction():
        await connection.execute("select from tocsin.api_keys for update")

        answer = await api.get("/v1/jobs", headers={"Authorization": f"bearer {key}"})

    assert answer.status_code == 200


async def test_the_command_makes_lists_and_revokes_keys(
    api: httpx.AsyncClient, database_url: str
) -> None:
    given = ("--scope", "read", "--scope", "write", "--expires-in", "1d12h")
    key = (await command(database_url, "keys", "create", "ann", *given)).strip()
    listed = await command(database_url, "keys", "list")

    assert KEY.fullmatch(key)
    assert key not in listed
    assert re.search(r"read,write .*expires 2.*never used .*ann\n", listed)

    async def serves() -> bool:
        answer = await api.get("/v1/jobs", headers={"Authorization": f"Bearer {key}"})
        return answer.status_code == 200

    await until(serves, "the new key is let in")
    revoked = await command(database_url, "keys", "revoke", "ann")
    assert revoked.startswith("revoked ")
    assert "revoked" in await command(database_url, "keys", "list")

    async def refuses() -> bool:
        return not await serves()

    await until(refuses, "the revoked key is refused")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("create", "x"), "--scope"),
        (("create", "x", "--scope", "root"), "read"),
        (("create", "x", "--scope", "read", "--expires-in", "soon"), "write 90d"),
        (("create", "x", "--scope", "read", "--expires-in", "0d"), "out of range"),
        (("create", "a/b", "--scope", "read"), "name"),
        (("revoke", "none"), "no key has the prefix 'none'"),
    ],
)
def test_the_command_says_what_is_wrong(
    database_url: str, arguments: tuple[str, ...], said: str
) -> None:
    done = tocsin(database_url, "keys", *arguments)

    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


async def test_the_command_says_that_the_first_key_ends_open_access(database_url: str) -> None:
    first, second = [
        await asyncio.to_thread(tocsin, database_url, "keys", "create", name, "--scope", "read")
        for name in ("ann", "bob")
    ]

    assert "from now on every caller needs one" in first.stderr
    assert "--scope admin" in first.stderr
    assert (first.stdout.count("\n"), "every caller" in second.stderr) == (1, False)


async def test_other_machines_are_not_served_before_there_is_a_key(database_url: str) -> None:
    served = {"database_url": database_url, "port": 0}
    exposed = await Process.start("api", "--host", "0.0.0.0", **served)  # noqa: S104 - that is the point
    assert await exposed.ended() == 1
    assert "tocsin keys create" in exposed.tail()

    await command(database_url, "keys", "create", "ann", "--scope", "admin")
    guarded = await Process.start("api", "--host", "0.0.0.0", **served)  # noqa: S104 - that is the point
    await guarded.says("serving", access="with an API key")
    assert await guarded.terminate() == 0


async def test_at_its_start_the_api_says_that_it_asks_for_no_key(database_url: str) -> None:
    process = await Process.start("api", database_url=database_url, port=0)

    await process.says(
        "serving", level="warning", access="without an API key, from this machine only"
    )

    assert await process.terminate() == 0


async def test_keys_are_in_no_log(database_url: str) -> None:
    key = (await command(database_url, "keys", "create", "ann", "--scope", "admin")).strip()
    process = await Process.start("api", database_url=database_url, port=0, log_level="debug")
    await process.says("serving")
    [line] = process.said("serving")

    async with httpx.AsyncClient(base_url=f"http://{line['address']}") as api:
        for given in (key, key[:-1] + "x"):
            await api.get("/v1/jobs", headers={"Authorization": f"Bearer {given}"})
            await api.post("/v1/keys", headers={"Authorization": f"Bearer {given}"}, content=b"{")
    await process.terminate()

    assert key[-64:-1] not in json.encode(process.lines).decode() + "".join(process.text)
