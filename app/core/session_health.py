"""Judges other sessions of the database that hold locks or have been in a transaction for long."""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from app.core.health import Finding

LOCK_SECONDS = 2.0
"""Age of a transaction from which its table locks are reported; Tocsin's own end earlier."""
ROW_LOCK_SECONDS = 10.0
"""Age of a transaction from which its row locks are reported."""
GRAVE_SECONDS = 60.0
"""Age from which row locks need a remedy; writing jobs in a transaction locks rows for less."""
TRANSACTION_SECONDS = 300.0
"""Age from which any transaction needs a remedy."""
MAX_NAMED = 5
"""How many sessions a finding names."""


class OtherSession(Struct, frozen=True, kw_only=True):
    """A session with an open transaction, as pg_stat_activity shows it to the doctor's role."""

    pid: int
    user: str
    application_name: str
    state: str
    seconds: float
    """The age of the transaction; 0 if the doctor's role may not see it."""
    table_locks: list[str]
    """Locks that keep instances from writing, such as `AccessExclusiveLock on tocsin.jobs`."""
    waiting_locks: list[str]
    """Such locks that are not granted yet; later statements wait behind them."""
    locks_rows: bool
    """Whether the session may have rows of `tocsin.jobs` locked."""


def session_findings(sessions: Sequence[OtherSession]) -> Iterator[Finding]:
    """Judge the sessions by table locks, row locks and the age of their transactions."""
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
    """Return a finding that names the sessions, the oldest first, and what ends each of them."""
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
    """Word a session: its process, user and program, its state, age and locks."""
    name = f", {session.application_name!r}" if session.application_name else ""
    since = f" for {session.seconds:.0f} s" if session.seconds else ""
    held = [f"holds {one}" for one in session.table_locks]
    held += [f"waits for {one}" for one in session.waiting_locks]
    doing = ", ".join([f"{session.state or 'in a transaction'}{since}", *held])
    return f"pid {session.pid} (user {session.user}{name}): {doing}"
