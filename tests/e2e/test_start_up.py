"""How long commands take to start, as ratios: to a bare Python, and to what they are made of."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.support.cluster import ROOT

ROUNDS = range(5, 30)
"""At least so many, and more only while the machine is busy with something else."""
BEGIN = "from app.cli.start import main; main()"
"""What the script `tocsin` does."""
REQUEST = """
import http.client, json
connection = http.client.HTTPConnection("127.0.0.1", {port})
connection.request("GET", "/v1/jobs")
json.loads(connection.getresponse().read())
"""
"""A request as Python makes it that does nothing else."""
LIST = ("jobs", "list")
PROGRAMS = {
    "python": ("-c", "pass"),
    "request": ("-c", REQUEST),
    "click": ("-c", "import click"),
    "client": ("-c", "import click, http.client, json, tomllib"),
    "help": ("-c", BEGIN, "--help"),
    "module": ("-m", "app", "--help"),
    "commands": ("-c", "import app.cli.main"),
    "list": ("-c", BEGIN, *LIST),
    "list by click": ("-c", BEGIN, *LIST, "--search=-"),
}
"""A filter that begins so is none that is read without click."""
MOST = {
    ("help", "python"): 2.0,
    ("module", "python"): 3.0,
    ("commands", "click"): 1.6,
    ("list by click", "client"): 1.7,
}
"""How many times as long as the second the first may take."""
MOST_OF_LIST = 2.0
"""How many times as long as a bare Python a list may take, beside its request."""


class OneAnswer(BaseHTTPRequestHandler):
    """Answers as an API without jobs does."""

    def do_GET(self) -> None:
        """Answer with an empty page."""
        body = json.dumps({"items": [], "next_cursor": None}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Write no lines."""


@pytest.fixture
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), OneAnswer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.alone
def test_commands_start_little_later_than_what_they_are_made_of(tmp_path: Path, port: int) -> None:
    # As installed: with the compiled modules that Python keeps.
    environment = {
        name: one for name, one in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    } | {
        "PYTHONPYCACHEPREFIX": str(tmp_path),
        "TOCSIN_URL": f"http://127.0.0.1:{port}",
        "XDG_CONFIG_HOME": str(tmp_path),
    }
    fastest = dict.fromkeys(PROGRAMS, 60.0)
    slow: dict[object, float] = {}
    for done in range(ROUNDS.stop):
        # In turns, so that what else the machine does slows all of them.
        for name, arguments in PROGRAMS.items():
            words = [one.replace("{port}", str(port)) for one in arguments]
            begun = time.perf_counter()
            ended = subprocess.run(  # noqa: S603 - ours
                [sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, check=True
            )
            fastest[name] = min(fastest[name], time.perf_counter() - begun)
            assert ("jobs" in ended.stderr.decode()) is name.startswith("list")
        ratios: dict[object, float] = {
            (one, other): fastest[one] / fastest[other] for one, other in MOST
        }
        slow = {pair: ratios[pair] for pair, most in MOST.items() if ratios[pair] > most}
        request = fastest["request"] - fastest["python"]
        beside = (fastest["list"] - request) / fastest["python"]
        if beside > MOST_OF_LIST:
            slow["list beside its request"] = beside
        if not slow and done >= ROUNDS.start:
            break

    assert slow == {}
