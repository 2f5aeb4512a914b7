"""How long an instance sleeps between two looks."""


def sleep_seconds(
    wakeup_seconds: float | None, *, blocked_looks: int, shortest: float, longest: float
) -> float:
    """Return the sleep after a look that left slots free; `wakeup_seconds` None: nothing planned.

    A job that is due although the look could not claim it is locked by somebody's transaction:
    `blocked_looks`, counted from 1, double the wait from `shortest` up to a second, so that it
    costs neither a busy loop nor much lateness once the lock is gone; other jobs stay on time.
    """
    sleep = longest if wakeup_seconds is None else min(max(wakeup_seconds, 0.0), longest)
    if blocked_looks:
        return min(shortest * 2.0 ** min(blocked_looks - 1, 30), 1.0, sleep)
    return sleep
