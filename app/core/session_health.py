"""What sessions of others that hold locks, or stay in a transaction, mean for Tocsin."""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from app.core.health import Finding

LOCK_SECONDS = 2.0
"""No statement of Tocsin's holds such a lock for as long."""
ROW_LOCK_SECONDS = 10.0
GRAVE_SECONDS = 60.0
"""Whoever writes jobs in a transaction has the same locks for as long as that takes."""
TRANSACTION_SECONDS = 300.0
MAX_NAMED = 5


class OtherSession(Struct, frozen=True, kw_only=True):
    """A session with an open transaction, as pg_stat_activity shows it to the doctor's role."""

    pid: int
    user: str
    application_name: str
    state: str
    seconds: float
    """Since its transaction began; 0 where that may not be seen."""
    table_locks: list[str]
    """Such as `AccessExclusiveLock on tocsin.jobs`; those that keep instances from writing."""
    waiting_locks: list[str]
    """The same, not granted yet: what comes after waits behind them."""
    locks_rows: bool
    """It may have rows of tocsin.jobs locked."""


def session_findings(sessions: Sequence[OtherSession]) -> Iterator[Finding]:
    """Judge the sessions, each in one line with what ends it."""
    locking = [
        one
        for one in sessions
        if (one.table_locks or one.waiting_locks)
        and (one.seconds == 0 or one.seconds > LOCK_SECONDS)
    ]
    rows = [one for one in sessions if one.locks_rows and one.seconds > ROW_LOCK_SECONDS]
    long = [one for one in sessions if one.seconds > TRANSACTION_SECONDS]
    yield finding(
        "table locks",
        locking,
        well="none keeps instances from writing",
        remedy="Nothing runs until they end, or for one that waits, until it has had its turn.",
        grave=True,
    )
    yield finding(
        "row locks",
        [one for one in rows if one not in locking],
        well=f"nobody holds any for more than {ROW_LOCK_SECONDS:g} s",
        remedy="Jobs whose rows they have locked neither start nor settle until they end.",
        grave=any(one.seconds > GRAVE_SECONDS for one in rows),
    )
    yield finding(
        "transactions",
        long,
        well=f"none is open for more than {TRANSACTION_SECONDS:g} s",
        remedy="They keep dead rows of tocsin.jobs from being vacuumed.",
        grave=True,
    )


def finding(
    subject: str, sessions: Sequence[OtherSession], *, well: str, remedy: str, grave: bool
) -> Finding:
    """Name the sessions, the longest first, and the statement that ends each."""
    named = sorted(sessions, key=lambda one: -one.seconds)[:MAX_NAMED]
    if not named:
        return Finding(subject=subject, found=well)
    ends = "; ".join(f"select pg_terminate_backend({one.pid})" for one in named)
    return Finding(
        subject=subject,
        found="; ".join(map(described, named)),
        remedy=f"{remedy} Commit there, or: {ends};",
        grave=grave,
    )


def described(session: OtherSession) -> str:
    """Say who it is, for how long, and what it holds."""
    name = f", {session.application_name!r}" if session.application_name else ""
    since = f" for {session.seconds:.0f} s" if session.seconds else ""
    held = [f"holds {one}" for one in session.table_locks]
    held += [f"waits for {one}" for one in session.waiting_locks]
    doing = ", ".join([f"{session.state or 'in a transaction'}{since}", *held])
    return f"pid {session.pid} (user {session.user}{name}): {doing}"
