"""The first page: what runs now, what fails or is late, what comes next."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from functools import partial
from typing import Any

from litestar import Response, get
from litestar.datastructures import State
from litestar.params import FromQuery
from msgspec import Struct

from app.api.problems import ApiRequest
from app.core.access.api_key import Scope
from app.core.health import Finding
from app.core.jobs.job import StoredJob
from app.core.schedule.zones import zone_named
from app.db import instances, jobs, maintenance, pages
from app.db.clock import PolledClock
from app.db.database import Database
from app.db.jobs import JobFilter
from app.errors import DatabaseUnavailable, InvalidInput
from app.web.ahead import COMING, DAY, HOUR, Pictures
from app.web.facts import Fact, Seen, ripest, see_all
from app.web.heat import KEPT_SECONDS as WEEK_SECONDS
from app.web.heat import Week, busiest, days
from app.web.instances import Running, list_running
from app.web.rendering import page, render
from app.web.words import plural
from app.wire.instances import Stats
from app.wire.maintenance import Maintenance

Findings = Sequence[Finding]
SHOWN = 8
"""Jobs and executions of each list of the page."""
ZONE_COOKIE = "tocsin-zone"
"""The cookie in which a page's script keeps the zone of the viewer's clocks, if that is not UTC."""
LATE_SECONDS = 10.0
"""A job that has been due for longer is late."""


class Now(Struct, frozen=True, kw_only=True):
    """How everything stands at one instant, by parts that are read by themselves."""

    at: datetime
    stats: Seen[Stats]
    attention: Seen[Sequence[pages.Attention]]
    under_way: Seen[Sequence[pages.UnderWay]]
    troubled: Seen[Sequence[pages.Troubled]]
    hour: Seen[pages.Hour]
    instances: Seen[Sequence[Running]]
    firing: Seen[Sequence[pages.Firing]]
    warnings: Seen[Sequence[Finding]]
    maintenance: Seen[Sequence[Maintenance]]

    @property
    def troubles(self) -> list[str]:
        """Say in short phrases what needs somebody, the worst first."""
        stats, seen = self.stats.value, self.instances.value
        failing = sum(one.sort == "failing" for one in self.attention.value or ())
        many = f"{SHOWN}+" if failing > SHOWN else f"{failing}"
        told = [
            (
                seen is not None and not any(one.instance.connected for one in seen),
                "no instance is connected",
            )
        ]
        if stats:
            told.append((is_late(stats), f"{plural(stats.due, 'job')} due and not started"))
        told.append((bool(failing), f"{many} {'job fails' if many == '1' else 'jobs fail'}"))
        if stats:
            told += [
                (bool(stats.failed), f"{plural(stats.failed, 'job')} ended in failure"),
                (bool(stats.invalid), f"{plural(stats.invalid, 'job')} cannot run as written"),
            ]
        return [phrase for holds, phrase in told if holds]

    @property
    def sorts(self) -> list[tuple[str, list[pages.Attention]]]:
        """What needs somebody by sorts, the worst first."""
        found: dict[str, list[pages.Attention]] = {}
        for one in self.attention.value or ():
            found.setdefault(one.sort, []).append(one)
        return [*found.items()]

    @property
    def is_known(self) -> bool:
        """Whether all is known that `troubles` are told of."""
        return not any(one.trouble for one in (self.stats, self.attention, self.instances))

    @property
    def of_hour(self) -> dict[str, int]:
        """How many executions of the last hour ended how."""
        minutes = self.hour.value.minutes if self.hour.value else ()
        return {
            name: sum(getattr(one, name) for one in minutes)
            for name in ("succeeded", "failed", "missed")
        }


class Following(Struct, frozen=True, kw_only=True):
    """The jobs that run next."""

    jobs: Sequence[StoredJob]
    is_empty: bool
    """Whether there is no job at all."""


class Overview:
    """The parts of the overview, each with how old it may be."""

    def __init__(
        self, db: Database, clock: PolledClock, read_warnings: Callable[[], Awaitable[Findings]]
    ) -> None:
        self.db = db
        self.clock = clock
        self.stats = Fact(partial(instances.read_stats, db, newest=0), seconds=4)
        self.attention = Fact(self.read_attention, seconds=2)
        self.under_way = Fact(partial(pages.list_under_way, db, limit=SHOWN), seconds=2)
        self.troubled = Fact(self.read_troubled, seconds=3)
        self.hour = Fact(self.read_hour, seconds=10)
        self.instances = Fact(partial(list_running, db), seconds=5)
        self.firing = Fact(partial(pages.list_firing, db, limit=SHOWN + 1), seconds=8)
        self.warnings = Fact(read_warnings, seconds=60)
        self.maintenance = Fact(partial(maintenance.list_under_way, db), seconds=15)
        self.following = Fact(self.read_following, seconds=2)
        self.parts: Mapping[str, Fact[Any]] = {
            name: getattr(self, name) for name in Now.__struct_fields__ if name != "at"
        }
        """The parts that a page which is open keeps fresh."""

    def __repr__(self) -> str:
        return f"<Overview: {len(self.parts)} parts>"

    async def read_now(self) -> Now:
        """Tell how everything stands, as far as it is read.

        Raises:
            DatabaseUnavailable: nothing of it can be read.
        """
        facts = [*self.parts.values()]
        failed = [one.error for one in facts if isinstance(one.error, DatabaseUnavailable)]
        if len(failed) == len(facts):
            raise failed[0]
        shown = {name: one.shown() for name, one in self.parts.items()}
        return Now(at=await self.clock.now(), **shown)

    async def make_live(self, *, root: str) -> str:
        """Make the live part of the page; `root` stands before addresses.

        Raises:
            DatabaseUnavailable: nothing of it can be read.
        """
        await see_all(ripest(self.parts.values()))
        return render("overview_now.html", root=root, now=await self.read_now())

    async def read_attention(self) -> Sequence[pages.Attention]:
        """List what needs somebody, and one more of each sort than is shown."""
        return await pages.list_attention(self.db, late_seconds=LATE_SECONDS, few=SHOWN + 1)

    async def read_troubled(self) -> Sequence[pages.Troubled]:
        """List what went wrong in a day."""
        return await pages.list_troubled(self.db, since=await self.clock.now() - DAY, limit=SHOWN)

    async def read_hour(self) -> pages.Hour:
        """Count what ended in the last hour."""
        return await pages.read_hour(self.db, since=await self.clock.now() - HOUR)

    async def read_following(self) -> Following:
        """List the jobs that run next."""
        found = await jobs.list_by_next_run(self.db, JobFilter(), after=None, limit=SHOWN)
        is_empty = not found.items
        if is_empty:  # jobs that are over have no next run
            is_empty = not (await jobs.list_page(self.db, JobFilter(), before=None, limit=1)).items
        return Following(jobs=found.items, is_empty=is_empty)


def is_late(stats: Stats) -> bool:
    """Return whether some job is late."""
    return stats.oldest_due_seconds is not None and stats.oldest_due_seconds > LATE_SECONDS


def zone_of(name: str) -> tuple[str, tzinfo]:
    """Return a time zone and its name; UTC for one that is not known."""
    try:
        return name, zone_named(name)
    except InvalidInput:
        return "UTC", UTC


@get("/", opt={"scope": Scope.READ})
async def overview(
    *,
    request: ApiRequest,
    state: State,
    span: FromQuery[str] = "day",
    zone: FromQuery[str] = "",
) -> Response[bytes]:
    """Show how everything stands; the week by the clocks of `zone`, or of the browser's cookie."""
    facts: Overview = state.overview
    counted: Fact[Week] = state.week
    pictures: Pictures = state.pictures
    found, following, _ = await asyncio.gather(
        counted.see(stale=WEEK_SECONDS), facts.following.see(), see_all(facts.parts.values())
    )
    zone_name, clocks = zone_of(zone or request.cookies.get(ZONE_COOKIE, ""))
    span = span if span in COMING else "day"
    week = found.value
    now = await facts.read_now()
    return page(
        request,
        "overview.html",
        is_empty=following.value is not None and following.value.is_empty,
        now=now,
        now_part=render("overview_now.html", root=state.root_path, now=now),
        coming=await pictures.see(week, span) if week else None,
        shown=COMING[span],
        choices=COMING,
        following=following,
        found=found,
        week=week,
        week_days=days(week, clocks) if week else (),
        busy=busiest(week, clocks) if week else (),
        zone_name=zone_name,
    )
