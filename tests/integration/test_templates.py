"""Targets whose texts are templates, as instances render and carry them out."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import httpx
import pytest
from msgspec import json

from app.core.facts import Settled
from app.core.runs.outcome import Outcome
from app.errors import AppError
from app.templates.messages import MAX_OUTPUT, JobFacts, RunFacts, Text, Variables
from app.templates.renderer import Renderer
from app.vault import of_job, of_secret
from app.vault.prepare import check_target
from tests.support.api import LATER
from tests.support.builders import execution_rows, insert_job, job_row
from tests.support.instances import StartInstance
from tests.support.pages import ROOT
from tests.support.sink import Sink
from tests.support.vault import KEY, KEYS
from tests.support.waiting import until

JOB = UUID(int=7)
PATIENCE = 45.0
"""Seconds to wait for a fact: on a busy machine a process takes some to start."""
THREE = datetime(2026, 11, 24, 3, tzinfo=UTC)
VARIABLES = Variables(
    run=RunFacts(scheduled_for=THREE, previous=THREE.replace(day=23), key="the key"),
    attempt=2,
    job=JobFacts(
        id=JOB,
        name="a b/c",
        tags=["night"],
        metadata={"pages": {"many": 3}, "none": None, "html": "<b>"},
        last_outcome="failed",
        last_finished_at=THREE.replace(day=22),
        consecutive_failures=1,
        runs=9,
    ),
)
LOOP = "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}"


@pytest.fixture
async def renderer() -> AsyncIterator[Renderer]:
    renderer = Renderer()
    yield renderer
    await renderer.close()


async def becomes(renderer: Renderer, source: str, top: str = "body") -> str:
    """What a template becomes, or why it becomes nothing."""
    try:
        [text] = await renderer.render([Text(field="here", top=top, source=source)], VARIABLES)
    except AppError as error:
        return str(error)
    return text


WRITTEN = {
    "{{ run.scheduled_for }} {{ run.previous }} [{{ run.next }}]": (
        "2026-11-24T03:00:00Z 2026-11-23T03:00:00Z []"
    ),
    "{{ run.scheduled_for | in_zone('America/New_York') }}": "2026-11-23T22:00:00-05:00",
    "{{ run.scheduled_for | strftime('%d.%m. %H:%M', 'Europe/Paris') }}": "24.11. 04:00",
    "{{ run.previous.strftime('%a') }} {{ run.key }}": "Mon the key",
    "{{ job.name }} {{ attempt }} {{ job.tags[0] }} {{ job.runs }}": "a b/c 2 night 9",
    "{{ job.last_outcome }} {{ job.consecutive_failures }}": "failed 1",
    "{{ job.last_finished_at | strftime('%d') }}": "22",
    "{{ job.metadata | tojson }}": '{"pages": {"many": 3}, "none": null, "html": "<b>"}',
    "{{ job.metadata.none }}{{ job.metadata.pages.many }}": "3",
    "{% if attempt > 1 %}again{% endif %}\n": "again\n",
}


async def test_templates_say_what_there_is_to_say_of_a_run(renderer: Renderer) -> None:
    said = {source: await becomes(renderer, source) for source in WRITTEN}

    assert said == WRITTEN


async def test_the_page_shows_what_templates_become(renderer: Renderer) -> None:
    page = (ROOT / "docs" / "templates.md").read_text("utf-8")
    shown = dict(re.findall(r"^\| `(.*[{%].*)` \| `(.*)` \|$", page, re.MULTILINE))

    said = {source: await becomes(renderer, source.replace("\\|", "|")) for source in shown}

    assert len(shown) > 8
    assert said == shown


async def test_the_job_on_the_page_is_taken(api: httpx.AsyncClient) -> None:
    page = (ROOT / "docs" / "templates.md").read_text("utf-8")
    [job] = re.findall(r"^```json\n(.*?)^```", page, re.DOTALL | re.MULTILINE)

    answer = await api.post("/v1/jobs", json=json.decode(job))

    assert answer.status_code == 201, answer.text


async def test_the_insert_on_the_page_is_taken(connection: asyncpg.Connection) -> None:
    page = (ROOT / "docs" / "templates.md").read_text("utf-8")
    [statement] = re.findall(r"^```sql\n(.*?)^```", page, re.DOTALL | re.MULTILINE)

    await connection.execute(statement)
    target = json.decode(await connection.fetchval("select target from tocsin.jobs"))

    check_target("http", target)


async def test_values_are_escaped_for_the_field_that_they_stand_in(renderer: Renderer) -> None:
    url = "/{{ job.name }}?{{ {'a b': 'ö'} | urlencode }}&{{ 'a/b' | safe }}"

    assert await becomes(renderer, url, "url") == "/a%20b%2Fc?a+b=%C3%B6&a/b"
    assert await becomes(renderer, "<i>{{ job.metadata.html }}", "html") == "<i>&lt;b&gt;"
    assert await becomes(renderer, "{{ job.metadata.html }}") == "<b>"


HOSTILE = {
    "{{ 'a' * 10 ** 9 }}": "takes too much memory",
    "{{ 'a' * (attempt * 10 ** 9) }}": "takes too much memory",
    "{{ '%999999999d' | format(1) }}": "takes too much memory",
    "{{ '{:>999999999}'.format(1) }}": "takes too much memory",
    "{% set n = namespace(a=[0]) %}{% for i in range(99) %}{% set n.a = n.a + n.a %}{% endfor %}": (
        "takes too much memory"
    ),
    LOOP: "takes more than 0.5 s of a CPU",
    "{{ attempt ** (9 ** 9) }}": "takes ",  # too long, or too much memory: whichever comes first
    "{{ 'ab' | center(300000) }}": f"becomes longer than {MAX_OUTPUT:,} characters",
    "{% for a in range(9999) %}{{ 'b' * 999 }}{% endfor %}": "becomes longer than",
    "{% for a in range(10 ** 9) %}{% endfor %}": "Range too big",
    "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}": "recurses too deep",
    "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}": "recurses too deep",
    "{{ ''.__class__.__mro__ }}": "is unsafe",
    "{{ cycler.__init__.__globals__ }}": "is unsafe",
    "{{ job.tags.append(1) }}": "is unsafe",
    "{{ job.metadata.pages.update(a=1) }}": "is unsafe",
    "{{ job.metadata.nope }}": "has no attribute 'nope'",
    "{{ run.next | strftime('%F') }}": "an instant is wanted here, and this is nothing",
    "{{ run.scheduled_for | in_zone('Mars/Base') }}": "'Mars/Base' is no time zone",
    "{{ 1 / 0 }}": "ZeroDivisionError",
}


async def test_a_hostile_template_ends_at_a_limit_and_the_next_one_is_rendered(
    renderer: Renderer,
) -> None:
    for source, why in HOSTILE.items():
        assert why in await becomes(renderer, source), source
        assert await becomes(renderer, "{{ attempt }}") == "2", source


@pytest.mark.parametrize("lane", ["slow", "new"])
async def test_templates_that_were_quick_wait_for_no_others(renderer: Renderer, lane: str) -> None:
    await becomes(renderer, "{{ attempt }}")
    await becomes(renderer, LOOP)
    busy = {"slow": renderer.slow, "new": renderer.new}[lane]
    await busy.lock.acquire()
    sources = {"slow": LOOP, "new": "{{ attempt }} for the first time"}
    waiting = [asyncio.create_task(becomes(renderer, sources[lane])) for _ in range(5)]
    others = [await becomes(renderer, "{{ attempt }}") for _ in range(3)]
    done = [one.done() for one in waiting]
    busy.lock.release()
    for one in waiting:
        one.cancel()
    await asyncio.wait(waiting)

    assert others == ["2"] * 3
    assert done == [False] * 5


async def test_more_templates_than_may_wait_are_refused_at_once(renderer: Renderer) -> None:
    renderer.new.most = 2
    await renderer.new.lock.acquire()
    sources = [f"{{{{ attempt }}}} {number}" for number in range(2)]
    waiting = [asyncio.create_task(becomes(renderer, source)) for source in sources]

    async def both_wait() -> bool:
        return renderer.new.waiting == 2

    await until(both_wait, "both wait")
    refused = await becomes(renderer, "{{ attempt }} more")
    renderer.new.lock.release()

    assert refused == "too many templates are being rendered"
    assert [await one for one in waiting] == ["2 0", "2 1"]


async def test_a_rendering_process_that_was_killed_is_replaced(renderer: Renderer) -> None:
    await becomes(renderer, "{{ attempt }}")
    process = renderer.quick.process
    assert process is not None
    os.killpg(process.pid, signal.SIGKILL)
    await process.wait()

    assert await becomes(renderer, "{{ attempt }}") == "2"


async def test_a_rendering_that_is_given_up_leaves_no_answer_for_the_next_one(
    renderer: Renderer,
) -> None:
    await becomes(renderer, "{{ attempt }}")
    given_up = asyncio.create_task(becomes(renderer, LOOP))

    async def has_begun() -> bool:
        return renderer.slow.lock.locked()

    await until(has_begun, "the rendering has begun")
    given_up.cancel()
    await asyncio.wait([given_up])

    assert await becomes(renderer, "{{ attempt }}") == "2"


async def test_the_process_knows_nothing_of_the_environment(
    renderer: Renderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOCSIN_SECRET_KEYS", KEY)
    await becomes(renderer, "{{ attempt }}")
    process = renderer.quick.process
    assert process is not None

    environment = await asyncio.to_thread(Path(f"/proc/{process.pid}/environ").read_bytes)

    assert b"TOCSIN" not in environment


async def test_a_target_is_rendered_for_each_run(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    target = {
        "url": sink.url("/{{ job.name }}/{{ run.scheduled_for | strftime('%F') }}"),
        "headers": {"X-Next": "{{ run.next }}", "X-Last": "{{ run.previous }}"},
        "json": {"pages": ["{{ job.metadata.pages }}", 3.5], "tags": "{{ job.tags | join }}"},
        "templates": ["url", "headers", "json"],
    }
    at = datetime(2026, 11, 20, 3, tzinfo=UTC)
    job_id = await insert_job(
        connection,
        name="night",
        cron="0 3 * * *",
        tags=["a", "b"],
        metadata={"pages": 7},
        target=target,
        next_run=at,
    )

    async with instance() as (_, facts):
        await facts.seen(Settled, job_id=job_id, outcome=Outcome.SUCCEEDED, within=PATIENCE)
        [request] = sink.requests

    [*_, execution] = await execution_rows(connection, job_id)
    run, day = execution["scheduled_for"], timedelta(days=1)
    assert request.path == f"/night/{run:%Y-%m-%d}"
    assert request.headers["x-next"] == f"{run + day:%Y-%m-%d}T03:00:00Z"
    assert request.headers["x-last"] == f"{run - day:%Y-%m-%d}T03:00:00Z"
    assert request.body == b'{"tags":"ab","pages":["7",3.5]}'


async def test_what_is_secret_is_sent_as_it_is_and_never_evaluated(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    written = "{{7*7}}"
    await connection.execute(
        "insert into tocsin.secrets (name, value) values ('NAMED', $1)",
        KEYS.encrypt(written, of_secret("NAMED")),
    )
    token = KEYS.encrypt(written, of_job(JOB, "target.auth.token"))
    target = {
        "url": sink.url("/{{ attempt }}?of=${secret:NAMED}"),
        "headers": {"X-Api-Key": written, "X-Named": "${secret:NAMED} {{ attempt }}"},
        "auth": {"type": "bearer", "token": token},
        "templates": ["url", "headers", "body", "json"],
    }
    await insert_job(connection, id=JOB, target=target)

    async with instance(secret_keys=(KEY,)) as (_, facts):
        await facts.seen(Settled, job_id=JOB, within=PATIENCE)
        [request] = sink.requests

    assert request.headers["authorization"] == f"Bearer {written}"
    assert request.headers["x-api-key"] == written
    assert request.headers["x-named"] == f"{written} 1"
    assert request.path == "/1?of=%7B%7B7%2A7%7D%7D"


@pytest.mark.parametrize(
    ("target", "metadata", "says"),
    [
        ({"body": "{{ job.metadata.nope }}"}, {}, "target.body: 'dict object' has no attribute"),
        ({"headers": {"X-A": "{{ job.metadata.a }}"}}, {"a": "1\r\nX-B: 2"}, "target.headers.X-A"),
        ({"headers": {"X-A": "{{ job.metadata.a }}"}}, {"a": "${secret:A}"}, "no other secret"),
        ({"url": "/{{ job.metadata.a | safe }}"}, {"a": "a b"}, "target.url"),
        ({"body": LOOP}, {}, "target.body: takes more than 0.5 s of a CPU"),
    ],
    ids=["undefined", "header injection", "a secret", "no URL", "a loop"],
)
async def test_what_cannot_be_rendered_fails_its_run_and_says_why(  # noqa: PLR0913
    instance: StartInstance,
    connection: asyncpg.Connection,
    sink: Sink,
    *,
    target: dict[str, object],
    metadata: dict[str, str],
    says: str,
) -> None:
    made = {"url": sink.url(), "templates": [*target]} | target
    if "url" in target:
        made["url"] = sink.url(str(target["url"]))
    job_id = await insert_job(connection, target=made, metadata=metadata)

    async with instance() as (_, facts):
        await facts.seen(Settled, job_id=job_id, within=PATIENCE)

    [execution] = await execution_rows(connection, job_id)
    assert (execution["outcome"], execution["reason"]) == ("failed", "template")
    assert says in execution["error"]
    assert (await job_row(connection, job_id))["plan_error"] is None
    assert sink.requests == []


async def test_hostile_templates_hold_up_neither_other_templates_nor_other_jobs(
    instance: StartInstance, connection: asyncpg.Connection, sink: Sink
) -> None:
    async with instance(concurrency=2) as (_, facts):
        hostile = [
            await insert_job(
                connection, target={"url": sink.url(), "body": LOOP, "templates": ["body"]}
            )
            for _ in range(12)
        ]
        plain = await insert_job(connection, target={"url": sink.url("/plain")})
        good = {"url": sink.url("/{{ attempt }}"), "templates": ["url"]}
        other = await insert_job(connection, target=good)
        await facts.seen(Settled, job_id=plain, within=PATIENCE)
        await facts.seen(Settled, job_id=other, within=PATIENCE)
        left = await connection.fetchval(
            "select count(*) from tocsin.jobs where id = any($1) and last_outcome is null", hostile
        )

    assert sorted(one.path for one in sink.requests) == ["/1", "/plain"]
    assert left > 0


async def test_a_wrong_template_is_refused_with_its_field_through_both_doors(
    instance: StartInstance, connection: asyncpg.Connection, api: httpx.AsyncClient
) -> None:
    target = {"url": "https://example.com/", "body": "{{ nope }}", "templates": ["body"]}
    said = "line 1: there is no 'nope': there are run, job, attempt"

    answer = await api.post("/v1/jobs", json=LATER | {"target": target})
    later = await insert_job(connection, target=target, run_at=datetime(2100, 1, 1, tzinfo=UTC))
    now = await insert_job(connection, target=target)

    async with instance():

        async def both() -> bool:
            return all(
                [(await job_row(connection, id))["plan_error"] is not None for id in (later, now)]
            )

        await until(both, "both are judged")

    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"field": "target.body", "message": said}]
    for job_id in (later, now):
        assert (await job_row(connection, job_id))["plan_error"] == f"target.body: {said}"


async def test_a_target_with_templates_reads_as_it_was_written(api: httpx.AsyncClient) -> None:
    target = {
        "url": "https://example.com/{{ attempt }}",
        "headers": {"X-Api-Key": "{{ a }}"},
        "templates": ["url", "headers"],
    }
    made = (await api.post("/v1/jobs", json=LATER | {"name": "it", "target": target})).json()

    again = await api.put("/v1/jobs/it", json=LATER | {"target": made["target"]})

    assert made["target"] == target | {"headers": {"X-Api-Key": "***"}}
    assert again.status_code == 200
