"""How long an instance sleeps between two looks."""


def sleep_seconds(
    wakeup_seconds: float | None, *, blocked_looks: int, shortest: float, longest: float
) -> float:
    """Return the sleep, at most `longest` seconds, after a look that left slots free.

    `wakeup_seconds` is the time until the next job is due; None stands for no planned job.
    `blocked_looks` counts consecutive looks that found a due job locked by another transaction.
    Each doubles the sleep from `shortest` up to one second: no busy loop, and little lateness once
    the lock is gone. Jobs that come due earlier are still claimed on time.
    """
    sleep = longest if wakeup_seconds is None else min(max(wakeup_seconds, 0.0), longest)
    if blocked_looks:
        return min(shortest * 2.0 ** min(blocked_looks - 1, 30), 1.0, sleep)
    return sleep
