"""How many answers are kept for the requests of an API key that may be sent twice.

What programs send and what forms of the dashboard send have room apart, so that neither crowds the
other out.
"""

from time import monotonic

from msgspec import Struct

from app.db import Database, idempotency
from app.errors import TooManyKept

MAX_KEPT = 100_000
"""How many answers are kept for an API key."""
MAX_KEPT_BYTES = 512 * 1024 * 1024
"""How many bytes all answers have that are kept for an API key."""
MAX_OF_FORMS = 10_000
"""How many answers are kept for the forms that are sent with an API key, beside those above."""
MAX_OF_FORMS_BYTES = 64 * 1024 * 1024
"""How many bytes these have."""
COUNTED_SECONDS = 30.0
"""How long a count of what is kept for an API key is believed."""
OF_FORMS = "forms of "
"""What stands before the name of an API key for which answers to forms are kept."""


class Counted(Struct, kw_only=True):
    """How much is kept for an API key, as it was counted."""

    at: float
    answers: int
    bytes: int


class KeptAnswers:
    """What is kept, as this process has counted it."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.counted: dict[str, Counted] = {}

    def __repr__(self) -> str:
        return f"<KeptAnswers: of {len(self.counted)} owners>"

    async def check_room(self, owner: str) -> None:
        """Make sure that another answer may be kept for an API key.

        Raises:
            TooManyKept: there are `MAX_KEPT` answers, or `MAX_KEPT_BYTES`.
        """
        counted = await self.count(owner)
        if counted.answers >= MAX_KEPT or counted.bytes >= MAX_KEPT_BYTES:
            message = (
                f"the answers of {counted.answers} requests of this API key with idempotency keys "
                "are kept, each for 24 hours: leave the header out until some are over"
            )
            raise TooManyKept(message)
        counted.answers += 1

    async def make_room_of_forms(self, owner: str) -> None:
        """Make sure that another answer to a form may be kept: the older half makes room.

        So no form is refused, and what programs have kept with the same API key has its own room.
        """
        counted = await self.count(owner)
        if counted.answers >= MAX_OF_FORMS or counted.bytes >= MAX_OF_FORMS_BYTES:
            await idempotency.let_go(self.db, owner, keep=counted.answers // 2)
            self.counted.pop(owner, None)  # another form may have done the same meanwhile
            counted = await self.count(owner)
        counted.answers += 1

    async def count(self, owner: str) -> Counted:
        """Return how much is kept for an owner, as it was counted within `COUNTED_SECONDS`."""
        counted = self.counted.get(owner)
        if counted is None or monotonic() - counted.at > COUNTED_SECONDS:
            answers, size = await idempotency.count(self.db, owner)
            counted = Counted(at=monotonic(), answers=answers, bytes=size)
            self.counted[owner] = counted
        return counted
