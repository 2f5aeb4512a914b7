"""Answers that are kept for requests which come with an Idempotency-Key, in Postgres."""

import msgspec
from msgspec import Struct

from app.db.database import Runner
from app.errors import LockedByOthers, RequestUnderWay

WAIT_SECONDS = 10.0
"""How long a request waits for another one with its key to end."""
TRY_SECONDS = 0.05
"""How long of that it has a connection at a time."""
PAUSE_SECONDS = 0.2
"""How long it then goes without one, which others may want."""
GONE_SECONDS = 60.0
"""How long a request that was entered before it is answered counts as under way: longer than any
takes that is answered so. After that the process that answered it is gone."""
UNDER_WAY = (
    "a request with this Idempotency-Key is still under way: send it again later, to get its answer"
)


class Kept(Struct, frozen=True, kw_only=True):
    """The answer to a request, as it is kept for others with the same key."""

    request: bytes
    """The digest of what was asked."""
    status: int
    headers: dict[str, str]
    answer: bytes


async def begin(db: Runner, id: bytes, *, request: bytes, owner: str) -> Kept | None:
    """Enter a request if it is the first with its key; else return the answer that is kept.

    A request that is under way, in whatever process, is over when its transaction is. A request
    that was entered in a transaction of its own is over when its answer is kept, or after
    `GONE_SECONDS`.

    Raises:
        RequestUnderWay: the first request is not over within `TRY_SECONDS`.
    """
    [row] = await db.fetch("idempotency.patience", setting=f"{TRY_SECONDS * 1000:.0f}ms")
    while True:
        try:
            begun = await db.fetch(
                "idempotency.begin",
                id=id,
                request=request,
                owner=owner,
                gone_seconds=GONE_SECONDS,
            )
        except LockedByOthers:
            raise RequestUnderWay(UNDER_WAY) from None
        if begun:
            break
        if found := await db.fetch("idempotency.read", id=id):  # else it is over since just now
            [kept] = found
            if kept["status"] == 0 and kept["request"] == request:
                raise RequestUnderWay(UNDER_WAY)
            return Kept(
                request=kept["request"],
                status=kept["status"],
                headers=msgspec.json.decode(kept["headers"], type=dict[str, str]),
                answer=kept["answer"],
            )
    await db.fetch("idempotency.patience", setting=row["before"])
    return None


async def keep(
    db: Runner, id: bytes, *, status: int, headers: dict[str, str], answer: bytes
) -> None:
    """Keep the answer to a request that was entered."""
    text = msgspec.json.encode(headers).decode()
    await db.fetch("idempotency.keep", id=id, status=status, headers=text, answer=answer)


async def forget(db: Runner, id: bytes) -> None:
    """Have a request that was entered be over without an answer: any other may have its key."""
    await db.fetch("idempotency.forget", id=id)


async def count(db: Runner, owner: str) -> tuple[int, int]:
    """Return how many answers are kept for an owner, and how many bytes they have."""
    [row] = await db.fetch("idempotency.kept", owner=owner)
    return row["answers"], row["bytes"]


async def let_go(db: Runner, owner: str, *, keep: int) -> None:
    """Have all answers but the newest `keep` of an owner be over."""
    await db.fetch("idempotency.let_go", owner=owner, keep=keep)
