"""Loads `db/queries/*.sql` into named statements; no SQL text stands in `app/`."""

import re
from functools import lru_cache
from importlib.resources import files
from typing import Any

from msgspec import Struct

HEADER = re.compile(r"^-- (name|part): (\w+)(, reads)?\n", re.MULTILINE)
PART = re.compile(r"\{([a-z_]+)\}")
PARAMETER = re.compile(r"(?<![:\w]):([a-z_]+)\b")


class Query(Struct, frozen=True, kw_only=True):
    """One statement, with `$n` for each of its `parameters` in their order."""

    name: str
    sql: str
    parameters: tuple[str, ...]
    reads: bool = False
    """Whether it is known to write no row, so that no trigger can defer anything to its end."""

    def arguments(self, given: dict[str, Any]) -> list[Any]:
        """Put the named arguments in the statement's order.

        Raises:
            TypeError: an argument is missing, or an unknown one is given.
        """
        if given.keys() != set(self.parameters):
            message = f"{self.name} takes {sorted(self.parameters)}, not {sorted(given)}"
            raise TypeError(message)
        return [given[parameter] for parameter in self.parameters]


def parse_queries(group: str, text: str) -> dict[str, Query]:
    """Split a query file at its `-- name:` lines; each statement carries its name as a comment.

    `-- name: some, reads` is for a statement that writes no row, but may lock some. `-- part: some`
    begins a text that the statements after it have wherever they say `{some}`.

    Raises:
        KeyError: a statement has a part that is not above it.
    """
    queries = {}
    parts: dict[str, str] = {}
    _, *found = HEADER.split(text)
    for what, name, reads, body in zip(*(found[n::4] for n in range(4)), strict=True):
        lines = [line for line in body.splitlines() if not line.startswith("--")]
        statement = PART.sub(lambda part: parts[part[1]], "\n".join(lines).strip())
        if what == "part":
            parts[name] = statement
            continue
        parameters = tuple(dict.fromkeys(PARAMETER.findall(statement)))
        numbered = PARAMETER.sub(lambda found: f"${parameters.index(found[1]) + 1}", statement)  # noqa: B023 - used at once
        queries[name] = Query(
            name=f"{group}.{name}",
            sql=f"/* {group}.{name} */ {numbered.removesuffix(';')}",
            parameters=parameters,
            reads=bool(reads),
        )
    return queries


@lru_cache(maxsize=1)
def load_queries() -> dict[str, Query]:
    """Load every statement by `group.name`, where the group is the name of its file."""
    return {
        query.name: query
        for path in files("db").joinpath("queries").iterdir()
        if path.name.endswith(".sql")
        for query in parse_queries(path.name.removesuffix(".sql"), path.read_text("utf-8")).values()
    }


def query(name: str) -> Query:
    """Return the statement called `group.name`.

    Raises:
        KeyError: no statement has the name: a bug of the caller.
    """
    return load_queries()[name]
