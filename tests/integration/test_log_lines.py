"""Lines of the log."""

import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from msgspec import Struct

from app.core.facts import Fact, Faulted
from app.errors import DatabaseUnavailable
from app.telemetry.faults import faulted

ROOT = Path(__file__).parents[2]
TWO_FACTS = """
from app.core.facts import Stopped
from app.telemetry.logs import configure, log_fact
configure(level="info", log_format={log_format!r})
log_fact(Stopped(instance="host:1:abcd"))
log_fact(Stopped(instance="host:2:abcd"))
"""


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_line_is_one_write_so_that_processes_can_share_a_pipe(log_format: str) -> None:
    # On such a socket each write is a packet of its own.
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        script = TWO_FACTS.format(log_format=log_format)
        subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", script], stderr=theirs, cwd=ROOT, check=True, timeout=30
        )
        ours.settimeout(0)
        first, second = ours.recv(65_536), ours.recv(65_536)
        with pytest.raises(BlockingIOError):
            ours.recv(65_536)

    assert (b"host:1:abcd" in first, first[-1:]) == (True, b"\n")
    assert (b"host:2:abcd" in second, second[-1:]) == (True, b"\n")


RETRY = """
import asyncio, stamina
from app.errors import DatabaseUnavailable
from app.telemetry.logs import configure
configure(level="info", log_format="json")
failures = [DatabaseUnavailable("Postgres is not available: no answer"), OSError("hidden")]
async def settle(secret):
    if failures:
        raise failures.pop(0)
caller = stamina.AsyncRetryingCaller(wait_initial=0, wait_jitter=0).on(Exception)
asyncio.run(caller(settle, "hidden"))
"""


def test_a_retry_is_a_sentence_without_what_was_tried() -> None:
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", RETRY], capture_output=True, cwd=ROOT, check=True, timeout=30
    )

    first, second = map(json.loads, done.stderr.decode().splitlines())
    assert (first["event"], first["level"]) == ("retrying", "warning")
    assert first["error"] == "Postgres is not available: no answer"
    assert (second["error"], second["tries"]) == ("OSError", 2)
    assert b"hidden" not in done.stderr


def test_an_outage_of_the_database_is_told_by_its_sentence_and_a_bug_by_its_place() -> None:
    outage = DatabaseUnavailable("Postgres is not available: nothing listens at db:5432")

    assert faulted("targets", outage) == Faulted(where="targets", error=str(outage))
    assert faulted("targets", ValueError("hunter2")).error.startswith("ValueError from ValueError")


HEAD = """
import logging
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID
from msgspec.structs import replace
from app.core.facts import Faulted, Settled, Stopped
from app.telemetry.logs import REQUEST_ID, access_lines, configure, log_fact
SETTLED = Settled(
    job_id=UUID(int=7), name="nightly", kind="http", execution_id=1, outcome=None, reason=None,
    missed_runs=0, ended=False, deferred=False, attempt=1, next_run=None, lag_seconds=None,
    duration_seconds=None, error="bad target",
    scheduled_for=datetime(2026, 11, 24, 5, 0, 0, 500_000, timezone(timedelta(hours=2))))
"""


def logged(script: str, log_format: str = "json") -> str:
    """Return what a script writes into the log."""
    configured = f"{HEAD}configure(level='info', log_format={log_format!r})\n{script}"
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", configured], capture_output=True, cwd=ROOT, check=True, timeout=30
    )
    return done.stderr.decode()


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_an_instant_is_written_as_the_api_writes_it(log_format: str) -> None:
    lines = logged("log_fact(SETTLED)", log_format)

    assert "2026-11-24T03:00:00.500000Z" in lines
    assert "+00:00" not in lines
    assert "+02:00" not in lines


def test_a_text_of_a_stranger_is_cut_off() -> None:
    line = json.loads(logged("log_fact(replace(SETTLED, name='n' * 9000, error='e' * 9000))"))

    assert line["name"] == "n" * 1999 + "…"
    assert line["error"] == "e" * 1999 + "…"


def test_a_terminal_gets_no_control_character_of_a_stranger() -> None:
    name = "\\x1b[2J\\x1b]0;owned\\x07\\u202e\\x9b2J\\r\\n2026-01-01 [error] forged"

    line = logged(f"log_fact(replace(SETTLED, name='{name}'))", "text")

    assert line.count("\n") == 1
    assert line.rstrip("\n").isprintable()
    assert "owned" in line


def test_json_has_the_text_of_a_stranger_in_one_line_and_as_it_was() -> None:
    name = "\\x1b[2J\\r\\n{\\u202e"

    line = logged(f"log_fact(replace(SETTLED, name='{name}'))")

    assert line.count("\n") == 1
    assert json.loads(line)["name"] == "\x1b[2J\r\n{\u202e"


def test_half_a_surrogate_pair_ends_no_line() -> None:
    assert json.loads(logged(r"log_fact(replace(SETTLED, name='a\udc80'))"))["name"] == r"a\udc80"


OF_A_LIBRARY = r"""
log = logging.getLogger("uvicorn.error")
for _ in range(50):
    log.warning("Invalid HTTP request received.")
try:
    raise ValueError("hunter2")
except ValueError:
    log.exception("Exception in %s application\nTraceback: hunter2", "ASGI")
log.error("%d %d", 1)
log.info("nothing")
"""


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_library_is_quoted_by_its_first_line_and_the_place_of_its_error(log_format: str) -> None:
    lines = logged(OF_A_LIBRARY, log_format).splitlines()

    assert len(lines) == 3
    assert "hunter2" not in "".join(lines)
    if log_format == "json":
        first, second, third = map(json.loads, lines)
        assert {one["event"] for one in (first, second, third)} == {"library"}
        assert (first["logger"], first["level"]) == ("uvicorn.error", "warning")
        assert first["message"] == "Invalid HTTP request received."
        assert second["message"] == "Exception in ASGI application"
        assert second["error"].startswith("ValueError from ValueError in <module>")
        assert third["message"] == "%d %d"


def test_a_line_of_a_request_has_its_id() -> None:
    script = """
token = REQUEST_ID.set("r-1")
log_fact(Faulted(where="GET /v1/jobs", error="outage"))
REQUEST_ID.reset(token)
log_fact(Stopped(instance="host:1:abcd"))
"""
    first, second = map(json.loads, logged(script).splitlines())

    assert first["request_id"] == "r-1"
    assert "request_id" not in second


@pytest.mark.parametrize(
    ("level", "expected"), [("off", "False"), ("debug", "False"), ("info", "True")]
)
def test_no_line_of_a_request_is_made_that_would_not_be_written(level: str, expected: str) -> None:
    script = f"log_fact(Stopped(instance=str(access_lines({level!r}) is not None)))"

    assert json.loads(logged(script))["instance"] == expected


@pytest.mark.parametrize("kind", get_args(Fact), ids=lambda kind: kind.__name__)
def test_no_field_of_a_fact_is_named_as_what_every_line_has(kind: type[Struct]) -> None:
    assert {"event", "level", "timestamp", "repeated", "request_id"}.isdisjoint(
        kind.__struct_fields__
    )
