"""Where the `tocsin` command begins: with what is done without click.

To import that takes longer than to start Python. Its own help is always the same text, and
`app/cli/plain.py` carries out commands that read.
"""

import os
import sys

from app.cli.terminal import WIDTH, columns

HELP = __file__.removesuffix("start.py") + "help.txt"  # pathlib would take as long as all else
"""What click prints for a program called `tocsin`, as `make helptext` wrote it down."""


def main(program: str = "tocsin") -> None:
    """Print the help of the command itself, or carry out any other command line.

    `program`: how a shell calls it.
    """
    if sys.argv[1:] in (["--help"], ["-h"]) and sys.stdout is not None and columns() >= WIDTH:
        print_help(program)
        return
    if sys.argv[2:3] in (["list"], ["get"]):
        from app.cli.plain import is_carried_out

        if is_carried_out(sys.argv[1:]):
            return
    from app.cli.main import main as carry_out

    carry_out()


def print_help(program: str) -> None:
    """Print the text, with the name of the program in its first line."""
    with open(HELP, encoding="ascii") as file:  # noqa: PTH123 - see `HELP`
        text = file.read()
    try:
        sys.stdout.write(text.replace("tocsin", program, 1))
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for Python's own flush
        sys.exit(1)
