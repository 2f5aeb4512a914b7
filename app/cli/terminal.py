"""How wide the terminal is; little is imported here, as each command begins with it."""

import os
import sys

WIDTH = 80
"""The columns of a terminal that does not say; help of click is laid out for so many."""


def columns() -> int:
    """Return how wide the terminal is, as `shutil` does, whose import would take longer."""
    try:
        given = int(os.environ.get("COLUMNS", ""))
    except ValueError:
        given = 0
    if given > 0:
        return given
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or WIDTH
    except (OSError, ValueError):
        return WIDTH
