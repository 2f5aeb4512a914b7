"""The options that every benchmark has."""

import argparse
import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path


def run(
    measure: Callable[[argparse.Namespace], Coroutine[None, None, None]],
    *,
    about: str | None,
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
    asyncio.run(measure(parser.parse_args()))
