"""The options that every benchmark has."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path

from benchmarks.support.interpreter import is_optimised


def run(
    measure: Callable[[argparse.Namespace], Coroutine[None, None, None]],
    *,
    about: str | None,
    minutes: float = 60.0,
    **more: float,
) -> None:
    """Parse the command line and measure; `more` are numbers to choose, with their defaults."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--quick", action="store_true", help="small sizes: about a minute")
    parser.add_argument(
        "--peers", default="all", help="peers to measure beside it, by commas; all or none"
    )
    parser.add_argument(
        "--postgres", type=Path, help="bin directory of another PostgreSQL to measure on"
    )
    for name, default in more.items():
        parser.add_argument(f"--{name}", type=float, default=default)
    parser.add_argument("--minutes", type=float, default=minutes, help="give up after so long")
    parser.add_argument(
        "--any-python", action="store_true", help="measure on a Python that is not optimised too"
    )
    chosen = parser.parse_args()
    if not (is_optimised() or chosen.quick or chosen.any_python):
        parser.error(
            f"{sys.executable} was built without profile-guided optimisation, and takes a fifth "
            "longer: make setup PYTHON=/usr/bin/python3, or say --any-python"
        )
    asyncio.run(bounded(measure(chosen), minutes=chosen.minutes))


async def bounded(measuring: Coroutine[None, None, None], *, minutes: float) -> None:
    """Measure, but no longer than that; at SIGTERM stop everything that runs, and end."""
    task = asyncio.ensure_future(measuring)

    def cancel_once() -> None:  # a second signal must not cut the clean-up short
        if not task.cancelling():
            task.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, cancel_once)
    try:
        async with asyncio.timeout(minutes * 60):
            await task
    except TimeoutError:
        sys.exit(f"not finished after {minutes:g} minutes")
    except asyncio.CancelledError:
        sys.exit("terminated")
