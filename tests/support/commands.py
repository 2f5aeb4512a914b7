"""Commands that use the API, run in the test's own process."""

import asyncio
import json
import shlex
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.cli.main import main
from app.cli.remote.errors import CommandFailed

Tocsin = Callable[..., Awaitable[Result]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have no settings but those of the test."""
    for name in ("TOCSIN_URL", "TOCSIN_API_KEY", "TOCSIN_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def tocsin(served: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Tocsin:
    """Run a command in this process, without a terminal."""
    monkeypatch.setenv("TOCSIN_URL", served)

    async def run(line: str, *, stdin: str = "") -> Result:
        CommandFailed.as_json = False
        return await asyncio.to_thread(
            CliRunner().invoke, main, shlex.split(line), input=stdin, prog_name="tocsin"
        )

    return run


async def found(tocsin: Tocsin, line: str, **more: str) -> Any:  # noqa: ANN401 - JSON
    """Run a command that has to succeed, and read the JSON that it prints."""
    result = await tocsin(line, **more)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)
