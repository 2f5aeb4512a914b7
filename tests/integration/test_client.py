"""The client for Python on a running API, and against servers that fail."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest
from tocsin import (
    AsyncTocsin,
    Conflict,
    Edited,
    Invalid,
    NotConnected,
    NotFound,
    RateLimited,
    Tocsin,
    UnexpectedAnswer,
    Unreachable,
)
from tocsin.answers import Bulk, BulkPreview

from tests.support.api import JOB, NIGHTLY
from tests.support.sink import Sink, hang_up, reply

PROBLEM = b'{"type":"urn:tocsin:problem:x","title":"x","status":%d,"detail":"not now","errors":[]}'
SESSION = b'{"actor":"test","scopes":[],"expires_at":null}'


def use(url: str) -> list[str]:
    """Go the way of a job with the client that blocks; return the names of what is left."""
    with Tocsin(url) as tocsin:
        job = tocsin.schedule("nightly", "0 3 * * *", post="https://example.com/a", json={"a": [1]})
        again = tocsin.schedule(
            "nightly", "0 3 * * *", post="https://example.com/a", json={"a": [1]}
        )
        assert again.etag == job.etag
        assert job.target["json"] == {"a": [1]}
        edited = tocsin.jobs.update("nightly", timeout_seconds=60, if_match=job)
        assert edited.timeout_seconds == 60
        with pytest.raises(Edited):
            tocsin.jobs.update(job.id, timeout_seconds=90, if_match=job)
        assert tocsin.jobs.pause("nightly", reason="a move").pause is not None
        with pytest.raises(Conflict, match="paused"):
            tocsin.jobs.run("nightly")
        tocsin.jobs.resume("nightly")
        assert tocsin.jobs.skip("nightly", runs=2).skip_runs == 2
        tocsin.jobs.unskip("nightly")
        assert tocsin.jobs.run("nightly").execution_id is None
        assert tocsin.jobs.explain("nightly").reasons
        tocsin.jobs.batch(
            [{"name": f"job-{n}", **JOB, "run_at": "2100-01-01T00:00:00Z"} for n in range(5)]
        )
        names = [one.name or "" for one in tocsin.jobs.list(page_size=2)]
        assert tocsin.jobs.delete("job-0", dry_run=True) is None
        tocsin.jobs.delete("job-0")
        with pytest.raises(NotFound) as missing:
            tocsin.jobs.get("job-0")
        assert missing.value.kind == "job-not-found"
        assert missing.value.request_id
        return names


async def test_a_job_goes_all_its_way_with_the_client_that_blocks(served: str) -> None:
    names = await asyncio.to_thread(use, served)

    assert sorted(names) == ["job-0", "job-1", "job-2", "job-3", "job-4", "nightly"]


async def test_each_thing_of_the_api_is_written_and_read(served: str) -> None:
    async with AsyncTocsin(served) as tocsin:
        await tocsin.flows.put("tenant-*", max_concurrency=2)
        assert [one.flow_key async for one in tocsin.flows.list()] == ["tenant-*"]
        await tocsin.calendars.put("office", weekly=["MON-FRI 09:00-17:00"])
        assert (await tocsin.calendars.get("office")).weekly == ["MON-FRI 09:00-17:00"]
        job = await tocsin.jobs.create(**NIGHTLY, name="nightly", calendars=["!office"])
        await tocsin.alert_channels.put("hook", target={"url": "https://example.com/hook"})
        await tocsin.alert_rules.put("failing", events=["failed"], channels=["hook"])
        told = await tocsin.alert_channels.test("hook")
        assert (await tocsin.alerts.get(told.id)).channel == "hook"
        assert [one.id async for one in tocsin.alerts.list()] == [told.id]
        assert [one.name async for one in tocsin.alert_rules.list()] == ["failing"]
        assert [one async for one in tocsin.executions.list(outcome=["failed", "lost"])] == []
        assert [one async for one in tocsin.jobs.executions(job.id)] == []
        preview = await tocsin.bulk.preview(action="pause", filter={"name": "night"})
        asked = await tocsin.bulk.ask(action="pause", filter={"name": "night"})
        assert isinstance(preview, BulkPreview)
        assert isinstance(asked, Bulk)
        assert preview.count == 1
        assert (await tocsin.bulk.cancel(asked.id)).cancelled_at is not None
        plan = await tocsin.sets.plan(set="team", jobs={"weekly": {**JOB, "cron": "0 4 * * 1"}})
        await tocsin.sets.apply(
            set="team", jobs={"weekly": {**JOB, "cron": "0 4 * * 1"}}, digest=plan.digest
        )
        assert [one.name for one in (await tocsin.sets.get("team")).members] == ["weekly"]
        runs = await tocsin.preview(cron="0 3 * * *", timezone="Europe/Paris", count=2)
        assert len(runs.runs) == 2
        until = datetime.now(UTC) + timedelta(days=8)
        assert {one.job_name async for one in tocsin.upcoming(until=until)} == {"nightly", "weekly"}
        counted = await tocsin.upcoming(until=until, bucket_seconds=86_400).page()
        assert counted.buckets
        assert (await tocsin.pauses.preview(all=True)).jobs == 2
        pause = await tocsin.pauses.begin(all=True, reason="a move")
        assert [one.id async for one in tocsin.pauses.list()] == [pause.id]
        await tocsin.pauses.end(pause.id)
        window = await tocsin.maintenance.begin(all=True, ends_at=until)
        assert [one.id async for one in tocsin.maintenance.list()] == [window.id]
        await tocsin.maintenance.end(window.id)
        await tocsin.jobs.create(kind="check", target={}, every_seconds=3600, name="backup")
        assert (await tocsin.checks.make_token("backup")).path.startswith("/ping/")
        assert (await tocsin.checks.get("backup")).job_id


async def test_what_is_about_the_whole_is_read_and_keys_are_made(served: str) -> None:
    async with AsyncTocsin(served) as tocsin:
        await tocsin.flows.put("tenant-*", max_concurrency=2)
        assert (await tocsin.stats()).jobs == 0
        assert [one async for one in tocsin.instances()] == []
        assert {one.entity async for one in tocsin.changes(page_size=5)} == {"flow"}
        assert (await tocsin.ready()).status == (await tocsin.live()).status
        with pytest.raises(Conflict, match="encrypt"):
            await tocsin.secrets.put("token", value="hunter2")
        assert [one async for one in tocsin.secrets.list()] == []
        key = await tocsin.keys.create(name="deployment", scopes=["admin"])
    async with AsyncTocsin(served, key.key) as tocsin:
        assert (await tocsin.whoami()).scopes == ["read", "write", "admin"]
        assert [one.name async for one in tocsin.keys.list()] == ["deployment"]
        await tocsin.keys.revoke(key.prefix)


async def test_each_field_that_breaks_a_rule_is_named_with_the_remedy(served: str) -> None:
    async with AsyncTocsin(served) as tocsin:
        with pytest.raises(Invalid) as refusal:
            await tocsin.jobs.create(kind="http", target={"url": "nowhere"}, cron="61 * * * *")

    assert {one.field for one in refusal.value.errors} == {"target.url", "cron"}
    assert all(one.message in str(refusal.value) for one in refusal.value.errors)


async def test_a_write_whose_answer_is_lost_is_sent_again_with_its_key(sink: Sink) -> None:
    body = b'{"id":'
    url = sink.on("/v1/bulk/0/cancel", hang_up, reply(503, PROBLEM % 503), reply(200, body))
    async with AsyncTocsin(url.removesuffix("/v1/bulk/0/cancel")) as tocsin:
        with pytest.raises(UnexpectedAnswer):
            await tocsin.bulk.cancel("0")

    keys = [one.headers["idempotency-key"] for one in sink.requests]
    assert len(keys) == 3
    assert len({*keys}) == 1


async def test_an_edit_whose_answer_is_lost_is_not_sent_again(sink: Sink) -> None:
    sink.default = hang_up
    async with AsyncTocsin(sink.url("")) as tocsin:
        with pytest.raises(Unreachable, match="may have been done"):
            await tocsin.jobs.update("nightly", timeout_seconds=60)

    assert len(sink.requests) == 1


async def test_a_wait_that_the_api_asks_for_is_kept(sink: Sink) -> None:
    later = reply(429, PROBLEM % 429, {"Retry-After": "1"})
    sink.on("/session", later, reply(200, SESSION))
    async with AsyncTocsin(sink.url("")) as tocsin:
        assert (await tocsin.whoami()).actor == "test"

    first, second = (one.monotonic for one in sink.requests)
    assert second - first >= 1


async def test_attempts_are_bounded_and_the_last_refusal_is_raised(sink: Sink) -> None:
    sink.default = reply(429, PROBLEM % 429, {"Retry-After": "0"})
    async with AsyncTocsin(sink.url(""), attempts=3) as tocsin:
        with pytest.raises(RateLimited, match="not now"):
            await tocsin.whoami()

    assert len(sink.requests) == 3


async def test_a_redirection_gets_no_key(sink: Sink) -> None:
    sink.default = reply(307, b"", {"Location": sink.url("/", host="127.0.0.2")})
    async with AsyncTocsin(sink.url(""), "tocsin_key") as tocsin:
        with pytest.raises(UnexpectedAnswer):
            await tocsin.whoami()

    assert len(sink.requests) == 1


async def test_an_api_that_is_not_there_is_one_sentence(unused_tcp_port: int) -> None:
    async with AsyncTocsin(f"http://127.0.0.1:{unused_tcp_port}", attempts=1) as tocsin:
        with pytest.raises(NotConnected, match="does not answer"):
            await tocsin.whoami()


async def test_one_client_may_be_shared_by_threads(served: str) -> None:
    found: list[str] = []
    with Tocsin(served) as tocsin:

        def ask() -> None:
            found.append(tocsin.live().status)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for one in threads:
            one.start()
        await asyncio.to_thread(lambda: [one.join() for one in threads])

    assert len(found) == 8
