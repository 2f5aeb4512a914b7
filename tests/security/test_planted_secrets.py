"""Secrets are planted on every way in, everything goes wrong that can, and nothing shows them."""

import json
import traceback
from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest

from app.core.facts import Fact, Settled
from app.core.jobs.job import JobDocument
from app.db import Database, claims, jobs, secrets
from app.jobs import input as job_input
from app.targets.http.executor import HttpExecutor
from app.targets.http.target import HttpTarget
from app.targets.registry import decode_target
from tests.support.api import LATER, serving
from tests.support.builders import insert_job
from tests.support.cluster import Process, Processes
from tests.support.instances import StartInstance
from tests.support.planted import LEAKED, Planted, whole_dump
from tests.support.recorder import Recorder
from tests.support.sink import Received, Sink, Wire, drip, hang, hang_up, reply
from tests.support.vault import KEY, tocsin_secrets
from tests.support.waiting import until

BORDER = 16_384
"""Bytes of an answer that are kept."""
AT_ONCE = {"max_attempts": 1, "timeout_seconds": 2}
PATHS = ("/v1/jobs", "/v1/executions", "/v1/secrets", "/v1/audit", "/v1/stats", "/v1/instances")
ELSEWHERE = ("/openapi.json", "/health/ready", "/metrics", "/v1/events-that-are-none")


async def echo(wire: Wire, request: Received) -> None:
    """Answer with all that was sent, as debugging services do."""
    await wire.write(reply(200, request.head + b"\r\n\r\n" + request.body))


async def echo_as_json(wire: Wire, request: Received) -> None:
    """Fail, and put what was sent into JSON."""
    await wire.write(reply(500, json.dumps({"headers": request.headers}).encode()))


async def echo_at_the_border(wire: Wire, request: Received) -> None:
    """Begin to repeat the credentials right before the end of what is kept."""
    credentials = request.headers.get("authorization", "").rpartition(" ")[2].encode()
    await wire.write(reply(400, b"." * (BORDER - 12) + credentials))


async def echo_as_status(wire: Wire, request: Received) -> None:
    """Answer with what is no HTTP."""
    await wire.write(request.head.replace(b"\r\n", b" ") + b"\r\n\r\n")


async def echo_as_location(wire: Wire, request: Received) -> None:
    """Lead on to an address that nothing can be at."""
    credentials = request.headers.get("authorization", "none").replace(" ", "")
    await wire.write(reply(302, headers={"Location": f"http://{credentials}.x:99999/"}))


BEHAVIOURS = {
    "/echo": echo,
    "/json": echo_as_json,
    "/border": echo_at_the_border,
    "/status": echo_as_status,
    "/location": echo_as_location,
    "/hang": hang,
    "/hang-up": hang_up,
    "/drip": drip(reply(503, b"slow")),
    "/token": echo_as_json,
}


def credentials(planted: Planted, token_url: str) -> list[dict[str, Any]]:
    """Every way a target can hold a secret, as parts of targets."""
    oauth2 = {"type": "oauth2", "client_id": "me", "token_url": token_url}
    return [
        {"auth": {"type": "basic", "username": "me", "password": planted.password("me")}},
        {"auth": {"type": "bearer", "token": planted.text()}},
        {"auth": {"type": "header", "name": "Authorization", "value": planted.text()}},
        {
            "auth": {
                "type": "signature",
                "secret": planted.signing(),
                "previous_secret": planted.signing(),
            }
        },
        {"auth": oauth2 | {"client_secret": planted.password("me")}},
        {"auth": oauth2 | {"client_secret": planted.text(), "client_auth": "post"}},
        {"headers": {"Authorization": f"Bearer {planted.text()}", "X-Api-Key": planted.text()}},
        {"headers": {"Cookie": f"sid={planted.text()}; theme=dark", "X-Auth": planted.text()}},
        {"headers": {"X-Plain": "${secret:NAMED}"}},
        {"headers": {"Authorization": "Token ${secret:NAMED}"}},
        {"auth": {"type": "basic", "username": "me", "password": "${secret:NAMED}"}},
        {"client_certificate": planted.certificate, "client_key": planted.key},
    ]


def http_targets(planted: Planted, sink: Sink) -> list[dict[str, Any]]:
    """Every secret, towards everything that can go wrong."""
    urls = [sink.on(path, behaviour) for path, behaviour in BEHAVIOURS.items()]
    urls += [
        "http://127.0.0.1:9/nothing-listens-here",
        "http://no-such-host.invalid/",
        f"https://127.0.0.1:{sink.port}/no-tls-here",
        sink.url("/${secret:NAMED}/echo"),
        f"http://127.0.0.1:{sink.port}/${{secret:MISSING}}",
    ]
    return [
        part | {"url": url, "follow_redirects": True}
        for url in urls
        for part in credentials(planted, sink.url("/token"))
    ]


def amqp_targets(planted: Planted, sink: Sink, broker: str) -> list[dict[str, Any]]:
    host = urlsplit(broker).netloc.rpartition("@")[2]
    message = {"routing_key": "nobody-has-this", "headers": {"x-token": planted.text()}}
    urls = [
        broker,
        f"amqp://guest:{planted.text()}@{host}/",
        f"amqp://{planted.text()}@{host}/",
        f"amqp://guest:{planted.text()}@127.0.0.1:{sink.port}/",
        f"amqp://guest:{planted.text()}@127.0.0.1:9/",
        f"amqps://guest:{planted.text()}@{host}/",
        f"amqp://guest:{planted.text()}@no-such-host.invalid/",
        f"amqp://guest:${{secret:NAMED}}@{host}/",
    ]
    return [message | {"url": url} for url in urls]


def broken_targets(planted: Planted, url: str) -> list[dict[str, Any]]:
    """What people mistype."""
    secret = planted.text
    return [
        {"url": f"https://me:{secret()}@example.com/"},
        {"url": f"https://{secret()}@example.com/"},
        {"url": f"https://me:{secret()}/x@example.com/"},
        {"url": f"https://me:{secret()}#x@example.com:port/"},
        {"url": f"//me:{secret()}@[::1"},
        {"url": f" https://me:{secret()}@example.com/"},
        {"url": [f"https://me:{secret()}@example.com/"]},
        {"url": url, "auth": secret()},
        {"url": url, "auth": [secret()]},
        {"url": url, "auth": {"type": "bearer", "token": f"{secret()} {secret()}"}},
        {"url": url, "auth": {"type": "bearer", "token": [secret()]}},
        {"url": url, "auth": {"type": "bearer", "tokn": secret()}},
        {"url": url, "auth": {"type": "header", "name": "a b", "value": secret()}},
        {"url": url, "auth": {"type": "signature", "secret": secret()}},
        {"url": url, "auth": {"password": secret()}},
        {"url": url, "headers": {"X-Token": f"{secret()}\r\nX: y"}},
        {"url": url, "headers": {"X-Token": {"deep": [secret()]}}},
        {"url": url, "headers": secret()},
        {"url": url, "heders": {"X-Token": secret()}},
        {"url": url, "client_key": secret()},
        {
            "url": url,
            "client_certificate": planted.certificate,
            "client_key": planted.key.replace("PRIVATE", "PUBLIC"),
        },
    ]


@pytest.fixture
async def processes(database_url: str) -> AsyncIterator[Processes]:
    """Have processes as they are shipped, with all that they can log."""
    settings = {
        "database_url": database_url,
        "allow_private_targets": "true",
        "secret_keys": KEY,
        "log_level": "debug",
        "port": 0,
    }
    async with Processes(**settings).running() as processes:
        yield processes


async def client_of(process: Process) -> httpx.AsyncClient:
    await process.says("serving")
    [line] = process.said("serving")
    return httpx.AsyncClient(base_url=f"http://{line['address']}", timeout=30)


@pytest.mark.slow
@pytest.mark.timeout(150)
async def test_nothing_that_is_planted_shows_up_anywhere(
    database_url: str,
    connection: asyncpg.Connection,
    processes: Processes,
    sink: Sink,
    amqp_url: str,
) -> None:
    planted = Planted()
    answers: list[str] = []
    sink.default = echo
    api = await processes.start("api")
    scheduler = await processes.instance()
    async with await client_of(api) as client:

        async def call(method: str, path: str, body: object = None) -> httpx.Response:
            answer = await client.request(method, path, json=body)
            answers.append(f"{answer.status_code} {answer.headers} {answer.text}")
            return answer

        await call("PUT", "/v1/secrets/NAMED", {"value": planted.password("me")})
        await call("PUT", "/v1/secrets/REFUSED", {"value": {"deep": planted.text()}})
        said = await tocsin_secrets(database_url, "set", "OTHER", stdin=planted.text())
        good = [("http", target) for target in http_targets(planted, sink)]
        good += [("amqp", target) for target in amqp_targets(planted, sink, amqp_url)]
        broken = broken_targets(planted, sink.url())
        ids = []
        for kind, target in good:
            now = {"kind": kind, "target": target, "run_at": "2020-01-01T00:00:00Z"} | AT_ONCE
            created = await call("POST", "/v1/jobs", now)
            assert created.status_code == 201, created.text
            ids.append(created.json()["id"])
            await call("PATCH", f"/v1/jobs/{ids[-1]}", {"description": "seen"})
        for target in broken:
            refused = await call("POST", "/v1/jobs", LATER | {"target": target})
            assert refused.status_code == 422
            await call("POST", "/v1/jobs/batch", [LATER | {"target": target}])
            await call("PUT", "/v1/jobs/broken", LATER | {"target": target})
            await call("PATCH", f"/v1/jobs/{ids[0]}", {"target": target})
            await insert_job(connection, target=target, **AT_ONCE)
        for kind, target in good[:: len(good) // 20]:  # as a person types them, in clear
            await insert_job(connection, kind=kind, target=target, **AT_ONCE)
        await settled(connection, len(good) + len(broken))
        for path in [*PATHS, *ELSEWHERE]:
            await call("GET", f"{path}?limit=200" if path in PATHS[:4] else path)
        for id in ids:
            await call("GET", f"/v1/jobs/{id}")
            await call("GET", f"/v1/jobs/{id}/executions")

    written = "select string_agg(target::text, ' ') from tocsin.jobs where id = any($1)"
    encrypted = await connection.fetchval(written, ids)
    rotated = await tocsin_secrets(database_url, "rotate")
    assert rotated.returncode == 0, rotated.stderr
    await scheduler.terminate()
    await api.terminate()
    logs = "\n".join(f"{process.lines} {process.text}" for process in (api, scheduler))
    commands = f"{said} {rotated}".replace(KEY, "")
    shown = {
        "answers": "\n".join(answers),
        "logs": logs,
        "commands": commands,
        "targets written by the API": encrypted,
        "database": whole_dump(database_url),
    }

    leaks = {place: found for place, text in shown.items() if (found := planted.found_in(text))}
    assert leaks == {}
    assert planted.found_in(str([request.head for request in sink.requests]))  # they were sent
    assert "***" in shown["database"]
    assert len(scheduler.said("settled")) >= len(good)


async def settled(connection: asyncpg.Connection, count: int) -> None:
    """Wait until every job has been carried out, or found impossible."""

    async def done() -> bool:
        return bool(
            await connection.fetchval(
                """select count(*) >= $1 and bool_and(
                       plan_error is not null or (last_outcome is not null and next_run is null))
                   from tocsin.jobs""",
                count,
            )
        )

    await until(done, "all is settled", within=90)


@pytest.mark.parametrize("what", [ValueError, ExceptionGroup, KeyError])
async def test_a_bug_in_an_executor_tells_nothing_of_what_it_was_about_to_send(
    instance: StartInstance,
    connection: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    what: type[Exception],
) -> None:
    planted = Planted()

    async def fail(_: HttpExecutor, target: HttpTarget, *__: object) -> None:
        text = str(target.headers)
        cause = RuntimeError(text)
        raise what(text, [cause]) if what is ExceptionGroup else what(text) from cause

    monkeypatch.setattr(HttpExecutor, "execute", fail)
    job_id = await insert_job(
        connection, target={"url": "http://127.0.0.1/", "headers": {"X-Key": planted.text()}}
    )

    async with instance() as (_, facts):
        await facts.seen(Settled, job_id=job_id)

    rows = await connection.fetch("select * from tocsin.executions")
    assert rows[0]["reason"] == "internal"
    assert "runner.py" in told(facts.facts)
    assert planted.found_in(f"{told(facts.facts)} {rows}") == set()


@pytest.mark.parametrize(
    ("module", "broken"), [(jobs, "insert"), (job_input, "prepare")], ids=["insert", "prepare"]
)
async def test_a_bug_in_the_api_tells_nothing_of_what_it_was_sent(
    database_url: str, monkeypatch: pytest.MonkeyPatch, module: ModuleType, broken: str
) -> None:
    planted = Planted()

    def fail(*given: object, **_: object) -> None:
        raise ValueError(f"{given} {[getattr(one, 'target', one) for one in given]}")

    monkeypatch.setattr(module, broken, fail)
    recorder = Recorder()
    job = LATER | {"target": {"url": "http://a/", "headers": {"X-Key": planted.text()}}}
    async with serving(database_url, recorder) as api:
        one = await api.post("/v1/jobs", json=job)
        many = await api.post("/v1/jobs/batch", json=[job])

    assert (one.status_code, many.status_code) == (500, 500)
    assert planted.found_in(f"{told(recorder.facts)} {one.text} {many.text}") == set()


def told(facts: list[Fact]) -> str:
    return "\n".join(map(str, facts))


async def test_what_holds_secrets_shows_none_when_printed(
    database_url: str, connection: asyncpg.Connection
) -> None:
    planted = Planted()
    targets = [
        part | {"url": "https://example.com/"}
        for part in credentials(planted, "https://example.com/token")
    ]
    for target in targets:
        await insert_job(connection, target=target)
    held: list[object] = [decode_target("http", target) for target in targets]
    held += [JobDocument(kind="http", target=target) for target in targets]
    async with Database.connect(database_url, application_name="test") as db:
        held += await jobs.list_page(db, jobs.JobFilter(), before=None, limit=50)
        held += await secrets.read_targets(db, after=None, limit=50)
        look = await claims.look(
            db, limit=50, ahead_seconds=0, lease_seconds=60, kinds=("http",), instance="me"
        )
    held += look.claims

    shown = [show(one) for one in held for show in (repr, str, traceback_through)]

    assert len(look.claims) == len(targets)
    assert [text for text in shown if planted.found_in(text)] == []


def traceback_through(held: object) -> str:
    """The traceback of a crash with the object among the locals, as crash reports have it."""

    def crash(held: object) -> None:
        raise RuntimeError(type(held).__name__)

    try:
        crash(held)
    except RuntimeError as error:
        seen = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join(seen.format())


def test_the_search_finds_what_is_there() -> None:
    planted = Planted()
    secret = planted.password("me")

    assert planted.found_in(f"x{secret}y") == {secret}
    assert planted.found_in(secret[:10])
    assert planted.found_in(planted.key.splitlines()[2])
    assert planted.forms
    assert LEAKED.search("nothing") is None
