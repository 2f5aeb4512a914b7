"""Follows a page of the docs as its reader would: each block in order, in a folder of its own.

`sh` is run by bash, `sql` by psql. A block whose first line is `# NAME.py` (or the name of another
file) is written to that file; one with `# in another terminal` runs until the end. `text` after a
command is part of what that prints: where it only reads, it is asked again until it does.
"""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from app.devdb.places import embedded_programs
from tests.support.pages import ROOT

BLOCK = re.compile(r"^```(sh|sql|python|yaml|text)\n(.*?)^```", re.DOTALL | re.MULTILINE)
FILE = re.compile(r"^# ([\w-]+\.[a-z]+)\n")
TERMINAL = "# in another terminal\n"
SERVER = "serve_forever()'\n"
PORT = re.compile(r'"127\.0\.0\.1", (\d+)\)')
READS = re.compile(r"(tocsin (executions|jobs) (list|get)|curl --silent|select ).*", re.DOTALL)
PATIENCE_SECONDS = 20.0


class Walkthrough:
    """A page, with what differs here from what it says: addresses, ports, variables."""

    def __init__(
        self, page: str, *, folder: Path, variables: Mapping[str, str], here: Mapping[str, str]
    ) -> None:
        text = (ROOT / page).read_text("utf-8")
        for said, is_here in here.items():
            text = text.replace(said, is_here)
        self.blocks: list[tuple[str, str]] = BLOCK.findall(text)
        self.folder = folder
        self.psql = 'psql "$TOCSIN_DATABASE_URL"'
        programs = (str(Path(sys.executable).parent), str(embedded_programs()))
        self.variables = {
            **{name: value for name, value in os.environ.items() if name[:7] != "TOCSIN_"},
            **variables,
            "PATH": os.pathsep.join((*programs, os.environ["PATH"])),
            "XDG_CONFIG_HOME": str(folder / "config"),
        }

    def follow(self) -> list[str]:
        """Follow the page to its end; return what each block printed.

        Raises:
            AssertionError: a block failed, or did not print what the page shows.
        """
        printed: list[str] = []
        with ExitStack() as stack:
            last = ""
            for language, block in self.blocks:
                if named := FILE.match(block):
                    (self.folder / named[1]).write_text(block[named.end() :], "utf-8")
                elif language == "text":
                    self.shows(block.strip(), printed[-1], asked=last)
                elif block.startswith(TERMINAL) or block.endswith(SERVER):
                    self.leave_running(block, stack)
                else:
                    last = self.command(language, block)
                    printed.append(self.run(last))
        return printed

    def command(self, language: str, block: str) -> str:
        """Return what bash is to run for a block."""
        if language == "sh":
            return block
        return f"{self.psql} --no-psqlrc -qAt -v ON_ERROR_STOP=1 <<'END'\n{block}END\n"

    def run(self, command: str) -> str:
        done = subprocess.run(  # noqa: S603 - of a page of ours
            ["bash", "-euo", "pipefail", "-c", command],  # noqa: S607
            capture_output=True,
            check=False,
            cwd=self.folder,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{command}{done.stdout}{done.stderr}"
        return done.stdout

    def shows(self, wanted: str, printed: str, *, asked: str) -> None:
        """Check what a block printed; ask again where it only reads."""
        patience = time.monotonic() + PATIENCE_SECONDS
        while wanted not in printed:
            assert READS.fullmatch(asked), f"{asked}{printed} has no {wanted}"
            assert time.monotonic() < patience, f"{asked}{printed} has no {wanted}"
            time.sleep(0.2)
            printed = self.run(asked)

    def leave_running(self, block: str, stack: ExitStack) -> None:
        """Run a server until the end; go on when it listens on the port that its file names."""
        process = subprocess.Popen(  # noqa: S603 - of a page of ours
            ["bash", "-c", f"exec {block.removeprefix(TERMINAL)}"],  # noqa: S607
            cwd=self.folder,
            env=self.variables,
            stderr=subprocess.DEVNULL,
        )
        stack.callback(process.wait)
        stack.callback(process.kill)
        files = [file.read_text("utf-8") for file in self.folder.glob("*.py")]
        for port in {int(port) for text in (block, *files) for port in PORT.findall(text)}:
            wait_until_it_listens(port, process)


def wait_until_it_listens(port: int, process: subprocess.Popen[bytes]) -> None:
    patience = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert process.poll() is None, "the server ended"
            assert time.monotonic() < patience, "the server does not listen"
            time.sleep(0.05)
        else:
            return
