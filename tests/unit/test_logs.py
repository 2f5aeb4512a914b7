"""Lines of the log."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from app.core.facts import Faulted
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
