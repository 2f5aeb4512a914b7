"""What the pages of one process share: what is made once for all who look."""

from functools import partial

from litestar.datastructures import State

from app.config import Settings
from app.db.clock import PolledClock
from app.db.database import Database
from app.web import heat, warnings
from app.web.kept import Kept
from app.web.live import Part
from app.web.overview import COMING, live_overview, read_coming


def share(state: State, reader: Database, clock: PolledClock, settings: Settings) -> None:
    """Prepare what is shared; it is made when somebody asks for it, and not before."""
    state.reader = reader
    state.week = Kept(partial(heat.read_week, reader, clock), seconds=heat.KEPT_SECONDS)
    state.coming = {
        span: Kept(partial(read_coming, state, shown), seconds=heat.KEPT_SECONDS)
        for span, shown in COMING.items()
    }
    warned = Kept(
        partial(warnings.read_warnings, reader, retention_days=settings.retention_days),
        seconds=warnings.KEPT_SECONDS,
    )
    state.parts = {
        "overview": Part(partial(live_overview, reader, warned, root=settings.root_path))
    }
