"""How long commands take to start, as ratios: to a bare Python, and to what they are made of."""

import subprocess
import sys
import time

import pytest

from tests.support.cluster import ROOT

ROUNDS = range(5, 30)
"""At least so many, and more only while the machine is busy with something else."""
PROGRAMS = {
    "python": ("-c", "pass"),
    "click": ("-c", "import click"),
    "client": ("-c", "import click, http.client, json, tomllib"),
    "help": ("-c", "from app.cli.start import main; main()", "--help"),
    "module": ("-m", "app", "--help"),
    "commands": ("-c", "import app.cli.main"),
    "list": ("-m", "app", "jobs", "list", "--api", "http://127.0.0.1:1"),
}
"""`help` does what the script `tocsin` does. `list` asks an API that refuses at once, so that the
request takes no time."""
MOST = {
    ("help", "python"): 2.0,
    ("module", "python"): 3.0,
    ("commands", "click"): 1.6,
    ("list", "client"): 1.7,
    ("list", "python"): 10,
}
"""How many times as long as the second the first may take."""


@pytest.mark.alone
def test_commands_start_little_later_than_what_they_are_made_of() -> None:
    fastest = dict.fromkeys(PROGRAMS, 60.0)
    slow: dict[tuple[str, str], float] = {}
    for done in range(ROUNDS.stop):
        # In turns, so that what else the machine does slows all of them.
        for name, arguments in PROGRAMS.items():
            begun = time.perf_counter()
            subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, check=False)  # noqa: S603 - ours
            fastest[name] = min(fastest[name], time.perf_counter() - begun)
        ratios = {(one, other): fastest[one] / fastest[other] for one, other in MOST}
        slow = {pair: ratio for pair, ratio in ratios.items() if ratio > MOST[pair]}
        if not slow and done >= ROUNDS.start:
            break

    assert slow == {}
