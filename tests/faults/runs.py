"""The whole fault suite again and again, each time with another seed: `make fault-runs`.

Stops at the first run that fails, or leaves tests out. Each other one adds a line to a file:
`docs/reliability-runs.md` unless another is named. The table of the last whole one is left where
`FAULTS_TABLE` says.
"""

import argparse
import os
import secrets
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.chance import VARIABLE
from tests.support.checker import ALL, HEAD, line

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "reliability-runs.md"
SHOWN = HEAD[1:-2]
INTRODUCTION = """# Runs of the fault suite

One line for each run, newest last, as `make fault-runs` adds them: its seed, how pytest ended, and
the sums of [the table](reliability.md#how-it-is-checked) over all cases.
"""


def run(seed: int, pytest_arguments: list[str]) -> tuple[bool, str, list[str]]:
    """Run the suite; return whether all passed, pytest's closing line and the sums."""
    with TemporaryDirectory(prefix="tocsin-runs-") as directory:
        table = Path(directory, "table.md")
        ended = subprocess.run(  # noqa: S603 - our own arguments
            [sys.executable, "-m", "pytest", "tests/faults", *pytest_arguments],
            cwd=ROOT,
            env=os.environ | {VARIABLE: str(seed), "FAULTS_TABLE": str(table)},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        text = table.read_text("utf-8") if table.exists() else ""
    if text and (kept := os.environ.get("FAULTS_TABLE")):
        Path(kept).write_text(text, "utf-8")
    lines = text.splitlines()
    sums = next((one for one in lines if one.startswith(f"| {ALL} |")), "")
    cells = [cell.strip() for cell in sums.strip("|").split("|")][1 : 1 + len(SHOWN)]
    if ended.returncode:
        sys.stdout.write(ended.stdout)
    closing = ended.stdout.rstrip().rpartition("\n")[2].strip("= ")
    if not text and not ended.returncode:
        sys.exit(f"this was no run of the whole suite, and is not noted: {closing}")
    return not ended.returncode, closing, cells or [""] * len(SHOWN)


def note(results: Path, cells: list[str]) -> None:
    """Add a line to the file, and its head where there is none yet."""
    if not results.exists():
        head = [line(["seed", "pytest", *SHOWN]), line(["---:", "---"] + ["---:"] * len(SHOWN))]
        results.write_text("\n".join([INTRODUCTION, *head]) + "\n", "utf-8")
    with results.open("a", encoding="utf-8") as file:
        file.write(line(cells) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--seeds", type=int, nargs="*", help="these instead of random ones")
    given, pytest_arguments = parser.parse_known_args()
    seeds = given.seeds or [secrets.randbelow(10**6) for _ in range(given.runs)]
    for seed in seeds:
        passed, closing, sums = run(seed, pytest_arguments)
        cells = [str(seed), closing, *sums]
        note(given.results, cells)
        sys.stdout.write(line(cells) + "\n")
        sys.stdout.flush()
        if not passed:
            sys.exit(f"seed {seed} failed; again with {VARIABLE}={seed} make test-faults")


if __name__ == "__main__":
    main()
