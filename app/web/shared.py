"""What the pages of one process share: what is read once for all who look."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from uuid import UUID

from litestar.datastructures import State

from app.config import Settings
from app.db.clock import PolledClock
from app.db.database import Database
from app.web import alerts, bulk, facts, flows, heat, instances, warnings
from app.web.ahead import Pictures
from app.web.facts import Fact
from app.web.live import Part
from app.web.live_tables import LiveTables
from app.web.open_lists import OpenLists
from app.web.overview import Overview
from app.web.standing import WatchedJob

TABLES = {
    "alerts": alerts.TABLE,
    "bulk": bulk.TABLE,
    "flows": flows.TABLE,
    "instances": instances.TABLE,
}
"""The short lists whose pages stay fresh."""


@asynccontextmanager
async def sharing(
    state: State, reader: Database, clock: PolledClock, settings: Settings
) -> AsyncIterator[None]:
    """Prepare what is shared; it is read when somebody asks for it, and not before."""
    state.reader = reader
    state.week = Fact(
        partial(heat.read_week, reader, clock),
        seconds=heat.KEPT_SECONDS,
        patience=heat.PATIENCE_SECONDS,
    )
    state.pictures = Pictures()
    state.overview = overview = Overview(
        reader,
        clock,
        partial(warnings.read_warnings, reader, retention_days=settings.retention_days),
    )
    state.parts = {"overview": Part(partial(overview.make_live, root=settings.root_path))}
    state.job_parts = {}
    state.watch = partial(watch, reader, clock, root=settings.root_path)
    state.lists = lists = OpenLists(reader, clock, root=settings.root_path)
    state.list_parts = {}
    state.tables = tables = LiveTables(TABLES, reader, clock, root=settings.root_path)
    state.table_parts = {}
    try:
        yield
    finally:
        await lists.end()
        await tables.end()
        await facts.end([state.week, overview.following, *overview.parts.values()])


def watch(reader: Database, clock: PolledClock, id: UUID, *, root: str) -> Part:
    """Return the live part of a job's page; `root` stands before addresses."""
    watched = WatchedJob(reader, clock, id, root=root)
    return Part(watched.make_live, end=watched.end)
