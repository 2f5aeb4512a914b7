"""Secrets over HTTP and on the command line: stored encrypted, listed by name, rotated."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import httpx
import pytest
from cryptography.fernet import Fernet
from msgspec import json

from app.db import Database
from app.vault import SecretKeys, of_job, of_secret
from app.vault.rotate import Rotated, rotate
from tests.support.api import LATER, fields, serving
from tests.support.builders import insert_job, job_row
from tests.support.recorder import Recorder
from tests.support.roles import as_role
from tests.support.vault import KEY, KEYS, OLD_KEY, OTHER_KEY, tocsin_secrets

URL = "https://example.com/"
BASIC = {"type": "basic", "username": "me", "password": "sesame"}
TARGET = {"url": URL, "auth": BASIC, "headers": {"X-Api-Key": "sesame", "Accept": "text/plain"}}
MASKED = {
    "url": URL,
    "auth": BASIC | {"password": "***"},
    "headers": {"X-Api-Key": "***", "Accept": "text/plain"},
}
JOB = LATER | {"name": "report", "target": TARGET}
ADDRESS = "/v1/jobs/report"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Give the database as the commands have it."""
    async with Database.connect(database_url, application_name="test") as db:
        yield db


async def at_rest(connection: asyncpg.Connection) -> str:
    return str(await connection.fetchval("select target::text from tocsin.jobs"))


@pytest.mark.parametrize("how", ["post", "put", "batch"])
async def test_what_is_created_is_encrypted_and_reads_as_stars(
    database_url: str, connection: asyncpg.Connection, how: str
) -> None:
    async with serving(as_role("api", database_url), Recorder(), secret_keys=(KEY,)) as api:
        match how:
            case "post":
                created = await api.post("/v1/jobs", json=JOB)
            case "put":
                created = await api.put(ADDRESS, json=JOB)
            case _:
                created = await api.post("/v1/jobs/batch", json=[JOB])
        read = await api.get(ADDRESS)

    assert created.status_code in (200, 201)
    assert "sesame" not in created.text
    assert "encrypted" not in created.text
    assert read.json()["target"] == MASKED
    assert "sesame" not in await at_rest(connection)
    assert (await at_rest(connection)).count("encrypted.v2.") == 2


async def test_saying_the_same_again_in_clear_changes_nothing(
    database_url: str, connection: asyncpg.Connection
) -> None:
    async with serving(as_role("api", database_url), Recorder(), secret_keys=(KEY,)) as api:
        first = await api.put(ADDRESS, json=JOB)
        before = await at_rest(connection)
        second = await api.put(ADDRESS, json=JOB)
        masked = await api.put(ADDRESS, json=JOB | {"target": MASKED})

    assert first.headers["ETag"] == second.headers["ETag"] == masked.headers["ETag"]
    assert await at_rest(connection) == before


async def test_an_edit_beside_the_target_leaves_it_as_it_is_stored(
    database_url: str, connection: asyncpg.Connection
) -> None:
    async with serving(as_role("api", database_url), Recorder(), secret_keys=(KEY,)) as api:
        await api.put(ADDRESS, json=JOB)
        before = await at_rest(connection)
        edited = await api.patch(ADDRESS, json={"description": "new"})
        paused = await api.post(f"{ADDRESS}/pause")

    assert (edited.status_code, paused.status_code) == (200, 200)
    assert await at_rest(connection) == before


async def test_an_edit_of_the_target_keeps_the_secrets_behind_the_stars(
    database_url: str, connection: asyncpg.Connection
) -> None:
    async with serving(as_role("api", database_url), Recorder(), secret_keys=(KEY,)) as api:
        await api.put(ADDRESS, json=JOB)
        edited = await api.patch(ADDRESS, json={"target": {"method": "PUT"}})

    assert edited.json()["target"] == MASKED | {"method": "PUT"}
    stored = json.decode(await at_rest(connection))
    job_id = UUID(edited.json()["id"])
    password, key = stored["auth"]["password"], stored["headers"]["X-Api-Key"]
    assert KEYS.decrypt(password, of_job(job_id, "target.auth.password")) == "sesame"
    assert KEYS.decrypt(key, of_job(job_id, "target.headers.X-Api-Key")) == "sesame"


async def test_a_target_that_cannot_be_decrypted_can_be_read_and_paused_but_not_edited(
    database_url: str,
) -> None:
    async with serving(as_role("api", database_url), Recorder(), secret_keys=(KEY,)) as api:
        await api.put(ADDRESS, json=JOB)
    async with serving(as_role("api", database_url), Recorder(), secret_keys=(OTHER_KEY,)) as api:
        read = await api.get(ADDRESS)
        paused = await api.post(f"{ADDRESS}/pause")
        edited = await api.patch(ADDRESS, json={"target": {"method": "PUT"}})
        written = await api.patch(ADDRESS, json={"target": TARGET})

    assert read.json()["target"] == MASKED
    assert paused.status_code == 200
    assert edited.status_code == 422
    assert set(fields(edited)) == {"target.auth.password", "target.headers.X-Api-Key"}
    assert "TOCSIN_SECRET_KEYS" in edited.text
    assert written.status_code == 200


async def test_a_reference_is_stored_and_shown_as_it_is(
    database_url: str, connection: asyncpg.Connection
) -> None:
    target = {"url": URL, "headers": {"Authorization": "Bearer ${secret:TOKEN}"}}
    async with serving(as_role("api", database_url), Recorder(), secret_keys=(KEY,)) as api:
        created = await api.post("/v1/jobs", json=LATER | {"target": target})

    assert created.status_code == 201
    assert created.json()["target"] == target
    assert json.decode(await at_rest(connection)) == target


async def test_a_named_secret_is_set_listed_and_deleted_and_never_told(
    database_url: str, connection: asyncpg.Connection
) -> None:
    async with serving(as_role("api", database_url), Recorder(), secret_keys=(KEY,)) as api:
        created = await api.put("/v1/secrets/TOKEN", json={"value": "sesame"})
        changed = await api.put("/v1/secrets/TOKEN", json={"value": "open sesame"})
        await api.put("/v1/secrets/ANOTHER", json={"value": "sesame"})
        page = await api.get("/v1/secrets", params={"limit": 1})
        cursor = page.json()["next_cursor"]
        rest = await api.get("/v1/secrets", params={"limit": 1, "cursor": cursor})
        with_nul = await api.get("/v1/secrets", params={"cursor": "cwA"})
        token = await connection.fetchval("select value from tocsin.secrets where name = 'TOKEN'")
        gone = await api.delete("/v1/secrets/TOKEN")
        gone_already = await api.delete("/v1/secrets/TOKEN")

    assert (created.status_code, changed.status_code) == (201, 200)
    assert with_nul.status_code == 422
    assert created.json().keys() == {"name", "hosts", "created_at", "updated_at"}
    assert changed.json()["created_at"] == created.json()["created_at"]
    assert changed.json()["updated_at"] > created.json()["updated_at"]
    assert [secret["name"] for secret in page.json()["items"]] == ["ANOTHER"]
    assert [secret["name"] for secret in rest.json()["items"]] == ["TOKEN"]
    assert rest.json()["next_cursor"] is None
    assert KEYS.decrypt(token, of_secret("TOKEN")) == "open sesame"
    assert (gone.status_code, gone_already.status_code) == (204, 404)
    answers = (created, changed, page, rest, gone_already)
    assert "sesame" not in "".join(answer.text for answer in answers)


async def test_changes_of_secrets_are_audited_by_name_only(
    database_url: str, connection: asyncpg.Connection
) -> None:
    async with serving(as_role("api", database_url), Recorder(), secret_keys=(KEY,)) as api:
        for value in ("sesame", "open sesame"):
            await api.put("/v1/secrets/TOKEN", json={"value": value})
        await api.delete("/v1/secrets/TOKEN")
        audit = await api.get("/v1/audit")

    items = [item for item in audit.json()["items"] if item["entity"] == "secret"]
    assert [item["action"] for item in items] == ["delete", "update", "create"]
    assert {item["entity_name"] for item in items} == {"TOKEN"}
    assert {item["actor"] for item in items} == {"loopback"}
    none = {"hosts": []}
    assert [item["changed"] for item in items] == [None, ["value"], None]
    assert [item["before"] for item in items] == [none, none, None]
    assert [item["after"] for item in items] == [None, none, none]


@pytest.mark.parametrize(
    ("name", "body", "field"),
    [
        ("a b", {"value": "x"}, "name"),
        (".a", {"value": "x"}, "name"),
        ("A" * 101, {"value": "x"}, "name"),
        ("A", {"value": ""}, "value"),
        ("A", {"value": "x" * 65_537}, "value"),
        ("A", {"value": 7}, "value"),
        ("A", {"valu": "x"}, "valu"),
    ],
)
async def test_an_impossible_secret_is_refused_by_field(
    database_url: str, name: str, body: dict[str, object], field: str
) -> None:
    async with serving(as_role("api", database_url), Recorder(), secret_keys=(KEY,)) as api:
        refused = await api.put(f"/v1/secrets/{name}", json=body)

    assert refused.status_code == 422
    assert fields(refused)[0] == field


async def test_without_keys_no_named_secret_is_stored(api: httpx.AsyncClient) -> None:
    refused = await api.put("/v1/secrets/TOKEN", json={"value": "sesame"})

    assert refused.status_code == 409
    assert refused.json()["type"] == "urn:tocsin:problem:secret-keys-missing"
    assert "TOCSIN_SECRET_KEYS is not set" in refused.json()["detail"]


async def test_a_value_in_clear_cannot_be_typed_into_the_table(
    connection: asyncpg.Connection,
) -> None:
    with pytest.raises(asyncpg.CheckViolationError, match="secrets_value_encrypted"):
        await connection.execute("insert into tocsin.secrets (name, value) values ('A', 'sesame')")


async def test_secrets_are_set_listed_and_deleted_on_the_command_line(
    database_url: str, connection: asyncpg.Connection
) -> None:
    created = await tocsin_secrets(database_url, "set", "TOKEN", stdin="ses\name\n")
    listed = await tocsin_secrets(database_url, "list")
    token = await connection.fetchval("select value from tocsin.secrets")
    deleted = await tocsin_secrets(database_url, "delete", "TOKEN")
    deleted_again = await tocsin_secrets(database_url, "delete", "TOKEN")

    assert created.stdout == "created TOKEN\n"
    assert KEYS.decrypt(token, of_secret("TOKEN")) == "ses\name"
    assert listed.stdout.split()[2:] == ["TOKEN", "any", "host"]
    assert deleted.stdout == "deleted TOKEN\n"
    assert deleted_again.returncode == 1
    assert deleted_again.stderr == "tocsin: no secret is called 'TOKEN'\n"


@pytest.mark.parametrize(
    ("arguments", "keys", "stdin", "said"),
    [
        (("set", "A"), "", "sesame", "TOCSIN_SECRET_KEYS is not set"),
        (("set", "a b"), KEY, "sesame", "may have up to 100 letters"),
        (("set", "A"), KEY, "\n", "has to have 1 to 65536 characters"),
        (("set", "A", "sesame"), KEY, "", "unexpected extra argument"),
        (("set", "A"), "hush", "sesame", "TOCSIN_SECRET_KEYS cannot be '***'"),
        (("rotate",), "", "", "TOCSIN_SECRET_KEYS is not set"),
    ],
)
async def test_the_command_line_says_what_is_wrong(
    database_url: str, arguments: tuple[str, ...], keys: str, stdin: str, said: str
) -> None:
    done = await tocsin_secrets(database_url, *arguments, keys=keys, stdin=stdin)

    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_rotation_encrypts_everything_with_the_first_key(
    database_url: str, connection: asyncpg.Connection
) -> None:
    old = SecretKeys([OLD_KEY])
    clear = await insert_job(connection, target=TARGET)
    encrypted = UUID(int=7)
    password = old.encrypt("sesame", of_job(encrypted, "target.auth.password"))
    await insert_job(
        connection, id=encrypted, target=TARGET | {"auth": BASIC | {"password": password}}
    )
    amqp = {"url": "amqp://me:sesame@broker/", "routing_key": "q"}
    broker = await insert_job(connection, kind="amqp", target=amqp)
    await connection.execute(
        "insert into tocsin.secrets (name, value) values ('A', $1)",
        old.encrypt("sesame", of_secret("A")),
    )

    first = await tocsin_secrets(database_url, "rotate", keys=f"{KEY},{OLD_KEY}")
    targets = [(await job_row(connection, id))["target"] for id in (clear, encrypted, broker)]
    second = await tocsin_secrets(database_url, "rotate", keys=KEY)

    assert first.stdout.splitlines() == [
        "encrypted the secrets of 3 targets and 1 named secrets with the first key",
        "all is done: no other key is needed any more",
    ]
    assert second.stdout.startswith("encrypted the secrets of 0 targets and 0 named")
    assert "sesame" not in str(targets)
    for id, target in zip((clear, encrypted), targets, strict=False):
        token = json.decode(target)["auth"]["password"]
        assert KEYS.decrypt(token, of_job(id, "target.auth.password")) == "sesame"
    value = await connection.fetchval("select value from tocsin.secrets")
    assert KEYS.decrypt(value, of_secret("A")) == "sesame"


async def test_a_rotation_says_what_it_could_not_decrypt(
    database_url: str, connection: asyncpg.Connection
) -> None:
    token = SecretKeys([OLD_KEY]).encrypt("sesame", "")
    await insert_job(connection, target={"url": URL, "headers": {"X-Key": token}})
    await insert_job(connection, kind="smoke_signal", target={"url": URL})

    done = await tocsin_secrets(database_url, "rotate")

    assert done.returncode == 1
    assert "keep the other keys: 1 cannot be decrypted" in done.stderr
    assert "1 targets cannot be read or are of a kind that is not installed" in done.stderr


async def test_a_rotation_binds_what_development_versions_encrypted_only_when_it_is_asked_to(
    database_url: str, connection: asyncpg.Connection
) -> None:
    token = "encrypted.v1." + Fernet(KEY).encrypt(b'"sesame"').decode()
    job_id = await insert_job(connection, target={"url": URL, "headers": {"X-Key": token}})
    await connection.execute("insert into tocsin.secrets (name, value) values ('A', $1)", token)

    unasked = await tocsin_secrets(database_url, "rotate")
    asked = await tocsin_secrets(database_url, "rotate", "--unbound")

    assert unasked.returncode == 1
    assert "2 cannot be decrypted" in unasked.stderr
    assert asked.stdout.startswith("encrypted the secrets of 1 targets and 1 named secrets")
    target = json.decode((await job_row(connection, job_id))["target"])
    bound = target["headers"]["X-Key"]
    assert KEYS.decrypt(bound, of_job(job_id, "target.headers.X-Key")) == "sesame"
    named = await connection.fetchval("select value from tocsin.secrets")
    assert KEYS.decrypt(named, of_secret("A")) == "sesame"


async def test_a_renamed_job_keeps_its_secrets(
    database_url: str, connection: asyncpg.Connection
) -> None:
    async with serving(as_role("api", database_url), Recorder(), secret_keys=(KEY,)) as api:
        await api.put(ADDRESS, json=JOB)
        renamed = await api.patch(ADDRESS, json={"name": "renamed"})
        edited = await api.patch("/v1/jobs/renamed", json={"target": {"method": "PUT"}})

    assert (renamed.status_code, edited.status_code) == (200, 200)
    token = json.decode(await at_rest(connection))["auth"]["password"]
    context = of_job(UUID(edited.json()["id"]), "target.auth.password")
    assert KEYS.decrypt(token, context) == "sesame"


PLAN = """select next_run, scheduled_for, attempt, plan_error, locked_until, fence, runs,
          consecutive_failures, paused_at, created_at from tocsin.jobs order by id"""


async def test_a_rotation_neither_plans_nor_wakes_anybody(
    database: Database, connection: asyncpg.Connection
) -> None:
    schedules = [{"cron": "* * * * * *"}, {"every_seconds": 0.5}, {}, {"cron": "0 3 * * *"}]
    for schedule in schedules:
        await insert_job(connection, target=TARGET, **schedule)
    await connection.execute(
        """update tocsin.jobs set planned_at = now(), next_run = now() + interval '1 second',
           scheduled_for = now(), attempt = 1"""
    )
    await connection.execute(
        "update tocsin.jobs set plan_error = 'bad cron', next_run = null, planned_at = now()"
        " where cron = '0 3 * * *'"
    )
    before = await connection.fetch(PLAN)
    notified: list[str] = []
    await connection.add_listener("tocsin_jobs", lambda *_: notified.append("notified"))

    done = await rotate(database, KEYS)
    await connection.execute("select 1")

    assert done == Rotated(targets=4)
    assert await connection.fetch(PLAN) == before
    assert notified == []


async def test_a_rotation_wins_no_race_against_an_edit(
    database: Database, connection: asyncpg.Connection
) -> None:
    job_id = await insert_job(connection, target=TARGET)
    edit = {"url": URL, "headers": {"X-Key": "edited"}}
    async with connection.transaction():
        await connection.execute("update tocsin.jobs set target = $1", json.encode(edit).decode())
        rotation = asyncio.create_task(rotate(database, KEYS))
        await asyncio.sleep(0.3)  # it finds the row locked

    assert (await rotation) == Rotated(targets=1)
    target = json.decode((await job_row(connection, job_id))["target"])
    assert target.keys() == {"url", "headers"}
    token = target["headers"]["X-Key"]
    assert KEYS.decrypt(token, of_job(job_id, "target.headers.X-Key")) == "edited"


async def test_a_rotation_reports_rows_that_stay_locked(
    database: Database, connection: asyncpg.Connection
) -> None:
    await insert_job(connection, target=TARGET)
    async with connection.transaction():
        await connection.execute("select 1 from tocsin.jobs for update")
        done = await rotate(database, KEYS)

    assert done == Rotated(busy=1)
