"""`make fuzz ARGS="--seconds 60 cron host"`: fuzzes the parsers one after the other with atheris.

Without names all of them. A finding is printed with its text: put that into `corpus.json`, where
tests/fuzz/test_parsers.py tries it from then on.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.parsers import PARSERS, SEEDS
from tests.fuzz.test_parsers import regressions

ROOT = Path(__file__).parents[2]
LONGEST = 4096


def main() -> int:
    options = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    options.add_argument("--seconds", type=int, default=30, help="for each parser")
    options.add_argument("--seed", type=int, default=0, help="0: another each time")
    options.add_argument("parser", nargs="*", choices=[*PARSERS, []], metavar="PARSER")
    given = options.parse_args()
    found = [name for name in given.parser or PARSERS if not fuzzed(name, given)]
    print(f"{len(found)} parsers with findings: {', '.join(found)}" if found else "no finding")
    return 1 if found else 0


def fuzzed(name: str, given: argparse.Namespace) -> bool:
    """Fuzz one parser from its seeds; whether nothing was found."""
    with tempfile.TemporaryDirectory() as directory:
        for number, text in enumerate((*SEEDS[name], *regressions(name))):
            (Path(directory) / str(number)).write_text(text, "utf-8", errors="replace")
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tests.fuzz.one", name),
                *(f"-max_total_time={given.seconds}", f"-max_len={LONGEST}", "-timeout=20"),
                *(f"-seed={given.seed}", f"-artifact_prefix={directory}/", "-rss_limit_mb=2048"),
                directory,
            ],
            cwd=ROOT,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    lines = done.stdout.splitlines()
    runs = next((line for line in reversed(lines) if line.startswith("Done ")), "stopped")
    print(f"{name:15} {runs if done.returncode == 0 else 'FOUND SOMETHING'}", flush=True)
    if done.returncode != 0:
        print("\n".join(line for line in lines if not line.startswith(("INFO", "#")))[-6000:])
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
