import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOO_FEW = """
import resource
from app.cli.main import main
resource.setrlimit(resource.RLIMIT_NOFILE, ({limit}, {limit}))
main(["doctor"])
"""


def test_a_command_that_may_open_too_few_files_says_so_in_a_sentence() -> None:
    """The fewest with which Python starts differ between systems; one more of them is enough."""
    said = [
        subprocess.run(  # noqa: S603 - our own script
            [sys.executable, "-c", TOO_FEW.format(limit=limit)],
            cwd=ROOT,
            env=os.environ | {"TOCSIN_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"},
            capture_output=True,
            text=True,
            check=False,
        ).stderr
        for limit in (5, 6)
    ]

    assert "Traceback" not in "".join(said)
    assert any(text.startswith("tocsin: no file descriptor is left") for text in said)
