"""A process whose children pass over alerts, and are killed between two statements of that.

`python -m tests.support.killed_alerting URL` reads the number of a border from each line, and
answers by a line with what became of the child: `killed`, or `done` if it had no such border. The
children are forked, as importing takes longer than what they do.
"""

import asyncio
import os
import signal
import sys
from time import monotonic
from typing import Any

from app.db import Database
from app.db.database import Transaction
from app.scheduler.alerts import Alerting
from app.telemetry import Observers


def kill_at(border: int) -> None:
    """Have this process end without a word before one of the statements that it would run.

    Which is to say, after the one before, and where that was the last of a transaction, after its
    end.
    """
    passed = 0

    def count() -> None:
        nonlocal passed
        passed += 1
        if passed == border:
            os.kill(os.getpid(), signal.SIGKILL)

    for runner in (Database, Transaction):
        fetch = runner.fetch

        async def fetch_and_count(
            self: Any,  # noqa: ANN401
            name: str,
            /,
            _fetch: Any = fetch,  # noqa: ANN401
            **arguments: Any,  # noqa: ANN401
        ) -> Any:  # noqa: ANN401
            count()
            return await _fetch(self, name, **arguments)

        runner.fetch = fetch_and_count  # type: ignore[method-assign]


async def pass_over(url: str) -> None:
    async with Database.connect(url, application_name="killed", max_connections=2) as db:
        await Alerting(db, Observers(), monotonic).work()


def main(url: str) -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            kill_at(int(line))
            asyncio.run(pass_over(url))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        was_killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        sys.stdout.write("killed\n" if was_killed else "done\n" if status == 0 else f"{status}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
