"""Receivers misbehave in every way: each ends in its own outcome and none delays its neighbours."""

import asyncio

import pytest

from tests.faults.conftest import Case
from tests.support.builders import execution_rows, insert_job
from tests.support.sink import (
    Behaviour,
    cut,
    drip,
    endless,
    hang,
    hang_up,
    reply,
    reset,
)

HELD_SECONDS = 2.0
"""How long a target that hangs holds its slot beside good ones: the time limit of its execution."""

REDIRECT_LOOP = reply(302, headers={"Location": "/redirect_loop"})
BROKEN_GZIP = reply(200, b"\x1f\x8bnot gzip at all", {"Content-Encoding": "gzip"})
BAD: dict[str, tuple[Behaviour, str, str]] = {
    "hangs_before_headers": (hang, "timed_out", "timeout"),
    "trickles_its_headers": (drip(reply(200, b"x" * 500)), "timed_out", "timeout"),
    "closes_without_an_answer": (hang_up, "failed", "closed"),
    "resets_without_an_answer": (reset, "failed", "closed"),
    "closes_in_the_middle": (cut(reply(200, b"x" * 500)[:100]), "failed", "closed"),
    "redirect_loop": (REDIRECT_LOOP, "failed", "redirect"),
    "fails": (reply(500), "failed", "status"),
    "speaks_another_protocol": (cut(b"SSH-2.0-OpenSSH_9\r\n"), "failed", "protocol"),
}


@pytest.mark.parametrize("how", BAD)
async def test_a_target_that(case: Case, how: str) -> None:
    behaviour, outcome, reason = BAD[how]
    instance = await case.processes.instance()
    url = case.sink.on(f"/{how}", behaviour)
    target = {"url": url, "follow_redirects": True}

    job_id = await insert_job(
        case.connection, target=target, timeout_seconds=1.0, max_attempts=2, backoff_seconds=0
    )
    await instance.says("settled", next_run=None)

    rows = await execution_rows(case.connection, job_id)
    assert [row["outcome"] for row in rows] == [outcome] * len(rows)
    assert {row["reason"] for row in rows} == {reason}
    assert all((row["finished_at"] - row["started_at"]).total_seconds() < 2.2 for row in rows)
    identities = {request.headers["tocsin-execution-id"] for request in case.sink.requests}
    assert len(identities) == len(rows), "sent once for each attempt, unless redirected"


@pytest.mark.parametrize(
    ("path", "behaviour"), [("/endless", endless), ("/broken_encoding", BROKEN_GZIP)]
)
async def test_an_answer_that_cannot_be_read_whole_is_kept_in_part(
    case: Case, path: str, behaviour: Behaviour
) -> None:
    instance = await case.processes.instance()

    job_id = await insert_job(case.connection, target={"url": case.sink.on(path, behaviour)})
    await instance.says("settled", outcome="succeeded")

    [row] = await execution_rows(case.connection, job_id)
    assert row["status_code"] == 200
    assert len(row["response"]) <= 16_384
    assert case.sink.poured < 10_000_000


async def test_bad_targets_beside_good_ones_delay_nobody(case: Case) -> None:
    await case.processes.instance(concurrency=100)
    for how, (behaviour, _, _) in BAD.items():
        case.sink.on(f"/{how}", behaviour)
    async with case.load.running(per_second=20):
        with case.ledger.fault("eight kinds of bad targets"):
            for how in BAD:
                for _ in range(4):
                    await insert_job(
                        case.connection,
                        target={"url": case.sink.url(f"/{how}")},
                        timeout_seconds=HELD_SECONDS,
                        max_attempts=2,
                        backoff_seconds=0.2,
                    )
            await asyncio.sleep(HELD_SECONDS + 1.5)

    await case.verdict()

    lags = await case.connection.fetch(
        """select extract(epoch from started_at - scheduled_for)::float8 as lag
           from tocsin.executions where outcome = 'succeeded'"""
    )
    assert max(row["lag"] for row in lags) < HELD_SECONDS / 2  # nobody waited for a bad one's slot
