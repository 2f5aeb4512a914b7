"""Tests that run alone are the last ones, in one process, and no other runs beside them."""

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.pages import ROOT

TESTS = """
import os
import time
import pytest

def note(request):
    began = time.monotonic()
    time.sleep(0.1)
    with open(os.environ["NOTES"], "a") as file:
        worker = os.environ["PYTEST_XDIST_WORKER"]
        print(request.node.name, worker, began, time.monotonic(), file=file)

@pytest.mark.alone
@pytest.mark.parametrize("which", [1, 2])
def test_alone_{letter}(request, which): note(request)

@pytest.mark.quiet
def test_quiet_{letter}(request): note(request)

def test_beside_{letter}(request): note(request)

def test_also_beside_{letter}(request): note(request)
"""


@pytest.mark.timeout(180)  # three runs of pytest, beside other tests
def test_tests_that_run_alone_come_last_one_after_another_in_one_process(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    for letter in "abcd":
        (tmp_path / f"test_{letter}.py").write_text(TESTS.replace("{letter}", letter), "utf-8")

    subprocess.run(  # noqa: S603 - our own words
        [
            *(
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-p",
                "tests.support.alone",
                "-pno:schemathesis",
            ),
            *("--numprocesses", "2", "--dist", "loadfile", f"--rootdir={tmp_path}", str(tmp_path)),
        ],
        cwd=ROOT,
        env=os.environ | {"NOTES": str(notes), "TURNS_OF_TESTS": str(tmp_path / "turns")},
        check=True,
    )

    rows = [line.split() for line in notes.read_text("utf-8").splitlines()]
    alone = [row for row in rows if row[0].startswith("test_alone")]
    assert (len(rows), len(alone)) == (20, 8)
    assert len({worker for _, worker, *_ in alone}) == 1
    assert len({worker for _, worker, *_ in rows}) == 2
    times = sorted((float(began), float(ended), name) for name, _, began, ended in rows)
    order = [name.split("_")[1] for *_, name in times]
    assert sorted(order.index(part) for part in ("beside", "quiet", "alone")) == [
        order.index(part) for part in ("beside", "quiet", "alone")
    ]
    for (_, ended, one), (began, _, next_) in pairwise(times):
        assert ended <= began or not any("alone" in name for name in (one, next_)), times
