"""Asks which jobs windows of maintenance concern, for many runs that start together at once."""

import asyncio
from collections.abc import Set as AbstractSet
from uuid import UUID

from app.db import Database, maintenance


class Question:
    """Jobs that are asked for in one statement, and its answer or error."""

    def __init__(self) -> None:
        self.job_ids: set[UUID] = set()
        self.concerned: AbstractSet[UUID] | None = None
        """The jobs of these that a window concerns; None until that is known."""
        self.error: Exception | None = None

    def __repr__(self) -> str:
        return f"<Question: {len(self.job_ids)} jobs>"


class Concerned:
    """Finds the jobs that have no tag of any window, so that nothing more is asked of these.

    While one question is under way all jobs that start then gather for the next one: with many
    starts a second a statement is for many of them.
    """

    def __init__(self, db: Database) -> None:
        self.db = db
        self.lock = asyncio.Lock()
        self.next = Question()

    def __repr__(self) -> str:
        return f"<Concerned: next {self.next}>"

    async def concerns(self, job_id: UUID) -> bool:
        """Return whether a window, whenever its time is, concerns a job by the tags it has now.

        Raises:
            Exception: the database could not be asked; all that wait for the same answer get it.
        """
        question = self.next
        question.job_ids.add(job_id)
        async with self.lock:
            if question is self.next:
                self.next = Question()  # whoever comes from now on
                await self.ask(question)
        if question.error is not None:
            raise question.error
        return question.concerned is None or job_id in question.concerned

    async def ask(self, question: Question) -> None:
        """Ask for all jobs of a question; an error is kept in it."""
        try:
            question.concerned = await maintenance.list_concerned(self.db, sorted(question.job_ids))
        except Exception as error:  # noqa: BLE001 - raised again for each who waits
            question.error = error
