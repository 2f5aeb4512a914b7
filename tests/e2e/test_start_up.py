"""How long commands take to start, as ratios: to a bare Python, and to what they are made of."""

import subprocess
import sys
import time

import pytest

from tests.support.cluster import ROOT

ROUNDS = 9
PROGRAMS = {
    "python": ("-c", "pass"),
    "click": ("-c", "import click"),
    "client": ("-c", "import click, http.client, json, tomllib"),
    "help": ("-m", "app", "--help"),
    "list": ("-m", "app", "jobs", "list", "--api", "http://127.0.0.1:1"),
}
"""`list` asks an API that refuses at once, so that the request takes no time."""


@pytest.mark.alone
def test_commands_start_little_later_than_what_they_are_made_of() -> None:
    fastest = dict.fromkeys(PROGRAMS, 60.0)
    for _ in range(ROUNDS):  # in turns, so that what else the machine does slows all of them
        for name, arguments in PROGRAMS.items():
            begun = time.perf_counter()
            subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, check=False)  # noqa: S603 - ours
            fastest[name] = min(fastest[name], time.perf_counter() - begun)

    said = {name: round(one / fastest["python"], 1) for name, one in fastest.items()}
    assert fastest["help"] <= 1.6 * fastest["click"], said
    assert fastest["list"] <= 1.7 * fastest["client"], said
    assert said["help"] <= 6, said
    assert said["list"] <= 10, said
