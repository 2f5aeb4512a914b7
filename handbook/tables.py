"""Tables and texts of Markdown, made of what code says."""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Sequence

PARAGRAPH = re.compile(r"\n\s*\n")


def cell(text: str) -> str:
    """Return a text as the cell of a table: one line, without a bar of its own."""
    return " ".join(text.split()).replace("|", r"\|")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table, or a sentence where there is nothing to list."""
    lines = ["| " + " | ".join(map(cell, row)) + " |" for row in rows]
    if not lines:
        return "There are none.\n"
    return "\n".join(["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|", *lines]) + "\n"


def code(text: str) -> str:
    """Return a text as code, or nothing for none; a bar in it stays one in a table."""
    if not text:
        return ""
    fence = "``" if "`" in text else "`"
    return f"{fence}{text}{fence}"


def first_paragraph(text: str | None) -> str:
    """Return the first paragraph of a docstring."""
    return " ".join(PARAGRAPH.split(inspect.cleandoc(text or ""))[0].split())


def described_attributes(cls: type) -> dict[str, str]:
    """Return what is written below each attribute of a class, by its name."""
    [definition] = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(definition, ast.ClassDef)  # noqa: S101 - for mypy
    found: dict[str, str] = {}
    name = None
    for statement in definition.body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=str(one))):
                name = one
            case ast.Assign(targets=[ast.Name(id=str(one))]):
                name = one
            case ast.Expr(value=ast.Constant(value=str(text))) if name is not None:
                found[name] = text
                name = None
            case _:
                name = None
    return found
