"""`db/triggers.sql`, made of its parts: `python -m tests.support.triggers` writes it.

What stands above a function or a view as a comment becomes its comment in the catalog, for
`\\df+` and `\\d+`: so each is written once.
"""

import re
from pathlib import Path

DB = Path(__file__).parents[2] / "db"
MADE = re.compile(
    r"(?P<above>(?:^--.*\n)*)^create or replace (?P<sort>function|view) (?P<name>tocsin\.\w+)",
    re.MULTILINE,
)
BRACKETS = re.compile(r"[()]")


def joined(parts: list[str]) -> str:
    """Put parts into one script, each with the comments of what it makes."""
    return "".join(part + comments(part) for part in parts)


def comments(part: str) -> str:
    """Write the statements that give functions and views the comments that stand above them.

    Raises:
        ValueError: there is none above one of them.
    """
    written = []
    for made in MADE.finditer(part):
        if not made["above"]:
            raise ValueError(f"nothing above {made['name']} says what it is")
        lines = [line.removeprefix("--").strip() for line in made["above"].splitlines()]
        text = " ".join(lines).replace("'", "''")
        of = arguments(part[made.end() :]) if made["sort"] == "function" else ""
        written.append(f"comment on {made['sort']} {made['name']}{of} is\n    '{text}';\n")
    return "".join(["\n", *written]) if written else ""


def arguments(text: str) -> str:
    """Return the arguments that a text begins with, in brackets and without defaults."""
    depth = 0
    for bracket in BRACKETS.finditer(text):
        depth += 1 if bracket[0] == "(" else -1
        if depth == 0:
            inside = " ".join(text[1 : bracket.start()].split())
            bare = [one.partition(" default ")[0] for one in inside.split(", ")]
            return f"({', '.join(bare)})"
    raise ValueError("a bracket is not closed")


def main() -> None:
    parts = [path.read_text("utf-8") for path in sorted((DB / "triggers").glob("*.sql"))]
    (DB / "triggers.sql").write_text(joined(parts), "utf-8")


if __name__ == "__main__":
    main()
