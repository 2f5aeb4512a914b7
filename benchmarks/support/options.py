"""The options that every benchmark has."""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path


def run(measure: Callable[[argparse.Namespace], Awaitable[None]], *, about: str | None) -> None:
    """Parse the command line and measure."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--quick", action="store_true", help="small sizes: about a minute")
    parser.add_argument(
        "--peers", default="all", help="peers to measure beside it, by commas; all or none"
    )
    parser.add_argument(
        "--postgres", type=Path, help="bin directory of another PostgreSQL to measure on"
    )
    asyncio.run(measure(parser.parse_args()))
