"""The cells of lists that are open: those of a row are kept with it, until it is another one."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cached_property, lru_cache
from uuid import UUID

from markupsafe import Markup

from app.core.jobs.job import JobState
from app.db.pages import ListRow
from app.web.cells import Cell, cell
from app.web.pictures import Ended, strip
from app.web.rendering import environment
from app.web.words import MINUTE

NEW = "fresh"
"""The element that says what is new."""
SAID = "fresh-said"
"""The one that says it once to those who listen."""
CHANGED = Markup("The list has changed; a link shows it anew.")
OF_A_ROW = ("what", "state", "strip", "next")
"""The cells of a row, in their order."""


@lru_cache(maxsize=32)
def macros(root: str, template: str) -> object:
    """Return the macros of cells; `root` stands before the addresses of pages."""
    return environment(root).get_template(template).module


def macro(root: str, name: str, *given: object, template: str = "job_cells.html") -> Markup:
    """Make the HTML of a cell."""
    made: Callable[..., Markup] = getattr(macros(root, template), name)
    return Markup(made(*given))  # noqa: S704 - escaped by the environment


def names_of(id: UUID) -> list[str]:
    """Name the elements of a row's cells."""
    return [f"{kind}-{id.hex}" for kind in OF_A_ROW]


def told_as(away: int) -> int:
    """Return the seconds that `from_now` words an instant by so many seconds away."""
    return away if -MINUTE < away < MINUTE else int(away / MINUTE) * MINUTE


class RowCells:
    """The cells of a job's row, as the job was last read; each is made when it is first shown."""

    def __init__(self, id: UUID, row: ListRow | None, *, root: str) -> None:
        self.id = id
        self.row = row
        """None: the job is deleted."""
        self.root = root
        self.firsts: dict[str, Cell] = {}
        """The cell that names the job, by the order of the list, which its links keep."""
        self.following: Cell | None = None
        self.away = 0
        """How many seconds the next run lies ahead, as `following` says it."""

    def __repr__(self) -> str:
        return f"<RowCells: {self.row.job.name or self.id if self.row else 'deleted'}>"

    def at(self, instant: datetime, *, sort: str) -> Sequence[Cell]:
        """Return the cells at an instant."""
        if self.row is None:
            return self.gone
        return (self.first(self.row, sort), *self.still, self.next(self.row, instant))

    def first(self, row: ListRow, sort: str) -> Cell:
        """Return the cell that names the job."""
        if sort not in self.firsts:
            name, order = names_of(self.id)[0], sort if sort != "newest" else None
            self.firsts[sort] = cell(name, macro(self.root, "what", row.job, order))
        return self.firsts[sort]

    @cached_property
    def still(self) -> Sequence[Cell]:
        """The cells of state and executions, which are the same in each list."""
        if self.row is None:
            return self.gone[1:3]
        _, state, ended, _ = names_of(self.id)
        row = self.row
        drawn = strip(
            [Ended(*each) for each in zip(row.outcomes, row.seconds, row.finished_at, strict=True)][
                ::-1
            ]
        )
        return (cell(state, macro(self.root, "stands", row.job)), cell(ended, drawn))

    def next(self, row: ListRow, instant: datetime) -> Cell:
        """Return the cell that says when the job runs next; it is made when its words change."""
        job = row.job
        away = 0
        if job.next_run and job.state not in {JobState.EXECUTING, JobState.PAUSED}:
            away = round((job.next_run - instant).total_seconds())
        if self.following is None or told_as(away) != told_as(self.away):
            self.away = away
            self.following = cell(names_of(self.id)[3], macro(self.root, "next", job, instant))
        return self.following

    @cached_property
    def gone(self) -> Sequence[Cell]:
        """The cells of a job that is deleted: its name and its executions stay."""
        html = (None, macro(self.root, "gone"), None, macro(self.root, "nothing"))
        return [cell(*one) for one in zip(names_of(self.id), html, strict=True)]


def unread(id: UUID) -> Sequence[Cell]:
    """Return the cells of a row that nothing is known of: they stay as they are."""
    return [cell(name, None) for name in names_of(id)]


def news_cells(words: str, address: str, *, root: str) -> Sequence[Cell]:
    """Say how many belong on a page that are not on it, with a link to its address."""
    link = macro(root, "fresh", words, f"{root}{address}")
    return (cell(NEW, link), cell(SAID, CHANGED if words else Markup()))


NOTHING_TOLD = (cell(NEW, None), cell(SAID, None))
"""Where it is not known what belongs on a page."""
