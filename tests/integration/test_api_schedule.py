"""Previews: the next runs of a schedule that no job has yet."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from time import monotonic
from typing import Any

import httpx
import pytest

from tests.support.api import NIGHTLY, fields

ADDRESS = "/v1/schedule/preview"
BOUNDED_SECONDS = 5.0


async def preview(api: httpx.AsyncClient, **schedule: Any) -> dict[str, Any]:  # noqa: ANN401
    answer = await api.post(ADDRESS, json=schedule)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def test_five_runs_are_shown_unless_said_otherwise(api: httpx.AsyncClient) -> None:
    shown = await preview(api, cron="*/5 * * * *")

    runs = [datetime.fromisoformat(run["at"]) for run in shown["runs"]]
    assert len(runs) == 5
    assert all(later - run == timedelta(minutes=5) for run, later in pairwise(runs))
    assert timedelta() < runs[0] - datetime.now(UTC) <= timedelta(minutes=5, seconds=5)
    assert shown["description"] == "Every 5 minutes, in UTC"


@pytest.mark.parametrize(
    ("timezone", "at"),
    [
        ("America/Vancouver", "2026-12-15T10:00:00Z"),
        ("America/Edmonton", "2026-12-15T09:00:00Z"),
        ("Africa/Casablanca", "2026-12-15T03:00:00Z"),
    ],
)
async def test_the_newest_rules_count_whatever_the_system_has(
    api: httpx.AsyncClient, timezone: str, at: str
) -> None:
    when = {"from": "2026-12-14T20:00:00Z"}

    shown = await preview(api, cron="0 3 15 * *", timezone=timezone, count=1, **when)

    assert shown["runs"][0]["at"] == at


async def test_the_words_say_the_values_that_h_has_for_the_job(api: httpx.AsyncClient) -> None:
    job_id = "018f3c1e-7a11-7cc0-8000-3f1f4e0c6a42"

    shown = await preview(api, cron="H H 1 * MON", job_id=job_id)

    (at, *_) = [datetime.fromisoformat(run["at"]) for run in shown["runs"]]
    assert shown["description"] == (
        f"At {at:%H:%M}, on day 1 of the month, or on Monday (H differs from job to job), in UTC"
    )


async def test_runs_are_shown_in_utc_and_as_the_zone_has_them(api: httpx.AsyncClient) -> None:
    shown = await preview(
        api,
        cron="30 2 * * *",
        timezone="Europe/Paris",
        count=3,
        **{"from": "2027-03-27T00:00:00Z"},
    )

    assert shown["runs"] == [
        {"at": at, "effective_at": at, "skipped": False, "local": local, "closed_until": None}
        for at, local in (
            ("2027-03-27T01:30:00Z", "2027-03-27T02:30:00+01:00"),
            ("2027-03-28T01:00:00Z", "2027-03-28T03:00:00+02:00"),
            ("2027-03-29T00:30:00Z", "2027-03-29T02:30:00+02:00"),
        )
    ]


@pytest.mark.parametrize(
    ("overlap", "runs"),
    [
        ("first", ["2027-10-31T00:30:00Z", "2027-11-01T01:30:00Z"]),
        ("last", ["2027-10-31T01:30:00Z", "2027-11-01T01:30:00Z"]),
        ("both", ["2027-10-31T00:30:00Z", "2027-10-31T01:30:00Z"]),
    ],
)
async def test_what_happens_at_the_end_of_summer_is_shown(
    api: httpx.AsyncClient, overlap: str, runs: list[str]
) -> None:
    shown = await preview(
        api,
        cron="30 2 * * *",
        timezone="Europe/Paris",
        dst_overlap=overlap,
        count=2,
        **{"from": "2027-10-30T12:00:00Z"},
    )

    assert [run["at"] for run in shown["runs"]] == runs


@pytest.mark.parametrize(
    ("schedule", "runs"),
    [
        ({"run_at": "2100-01-01T00:00:00Z"}, ["2100-01-01T00:00:00Z"]),
        (
            {"every_seconds": 60, "starts_at": "2100-01-01T00:00:00Z", "count": 2},
            ["2100-01-01T00:00:00Z", "2100-01-01T00:01:00Z"],
        ),
        (
            {
                "cron": "0 3 * * *",
                "from": "2027-01-01T00:00:00Z",
                "ends_at": "2027-01-02T03:00:00Z",
            },
            ["2027-01-01T03:00:00Z", "2027-01-02T03:00:00Z"],
        ),
        (
            {"cron": "@every 90s", "from": "2027-01-01T00:00:00Z", "count": 1},
            ["2027-01-01T00:01:30Z"],
        ),
        (
            {"cron": "TZ=Asia/Tokyo 0 9 * * *", "from": "2027-01-01T00:00:00Z", "count": 1},
            ["2027-01-02T00:00:00Z"],
        ),
    ],
    ids=["one-off", "interval", "bounded", "every", "zone in the cron"],
)
async def test_every_kind_of_schedule_can_be_tried(
    api: httpx.AsyncClient, schedule: dict[str, Any], runs: list[str]
) -> None:
    shown = await preview(api, **schedule)

    assert [run["at"] for run in shown["runs"]] == runs


async def test_the_preview_is_what_a_job_then_does(api: httpx.AsyncClient) -> None:
    hashed = NIGHTLY | {"cron": "H H * * *"}
    job = (await api.post("/v1/jobs", json=hashed)).json()

    shown = await preview(api, cron="H H * * *", timezone="Europe/Paris", count=1, job_id=job["id"])

    assert shown["runs"][0]["at"] == job["next_run"]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("schedule", "field"),
    [
        ({}, "run_at"),
        ({"cron": "0 3 * * *", "every_seconds": 5}, "every_seconds"),
        ({"cron": "0 0 31 2 *"}, "cron"),
        ({"cron": "0 3 * *"}, "cron"),
        ({"cron": "0 3 * * *", "timezone": "Mars"}, "timezone"),
        ({"cron": "0 3 * * *", "count": 0}, "count"),
        ({"cron": "0 3 * * *", "count": 101}, "count"),
        ({"cron": "0 3 * * *", "from": "2027-01-01T00:00:00"}, "from"),
        ({"cron": "0 3 * * *", "from": "9999-01-01T00:00:00Z"}, "from"),
        ({"cron": "0 3 * * *", "zone": "UTC"}, "zone"),
        ({"cron": "0 3 * * *", "from_": "2027-01-01T00:00:00Z"}, "from_"),
        ({"every_seconds": -1}, "every_seconds"),
        ({"every_seconds": 1e300}, "every_seconds"),
    ],
)
async def test_a_schedule_that_cannot_be_meant_is_refused(
    module_api: httpx.AsyncClient, schedule: dict[str, Any], field: str
) -> None:
    answer = await module_api.post(ADDRESS, json=schedule)

    assert answer.status_code == 422, answer.text
    assert fields(answer) == [field]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    "schedule",
    [
        {"cron": "0 0 29 2 *"},
        {"cron": "* * * * * *"},
        {"cron": "0 0 29 2 1"},
        {"cron": "0 0 * * 5#5"},
        {"every_seconds": 0.1, "starts_at": "2000-01-01T00:00:00Z"},
        {"every_seconds": 157_680_000},
    ],
)
async def test_a_hundred_runs_take_bounded_time(
    module_api: httpx.AsyncClient, schedule: dict[str, Any]
) -> None:
    started = monotonic()

    shown = await preview(module_api, timezone="America/New_York", count=100, **schedule)

    assert shown["runs"]
    assert monotonic() - started < BOUNDED_SECONDS
