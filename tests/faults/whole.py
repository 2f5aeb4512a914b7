"""Whether a run of the fault suite was a whole one, so that its table may stand for all of it."""

import ast
from collections.abc import Iterable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CHOOSING = ("keyword", "markexpr", "deselect", "lf", "failedfirst", "stepwise", "maxfail", "ignore")
"""Options of pytest with which a run may leave tests out."""


def defined() -> set[str]:
    """Name all fault tests by file and function."""
    return {
        f"{path.name}::{one.name}"
        for path in HERE.glob("test_*.py")
        for one in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(one, ast.AsyncFunctionDef | ast.FunctionDef) and one.name.startswith("test_")
    }


def lacking(config: pytest.Config, passed: Iterable[str], *, failed: int) -> str:
    """Say what a run lacks of a whole one; empty: it was one. `passed`: the ids of tests."""
    if failed:
        return f"{failed} tests failed"
    chosen = [f"--{name}" for name in CHOOSING if getattr(config.option, name, None)]
    chosen += [one for one in config.args if "::" in one]
    if chosen:
        return f"tests may have been left out by {', '.join(chosen)}"
    ran = {one.partition("[")[0].rpartition("/")[2] for one in passed}
    left_out = sorted(defined() - ran)
    return f"{len(left_out)} tests did not run, such as {left_out[0]}" if left_out else ""
