"""Makes three modules of the client out of what the API declares: `make client`.

`answers` and `requests` have the types of what is received and sent, and `operations` a function
for each operation of the API, which describes the request and does no I/O. A test shows that they
are fresh.
"""

import subprocess
import sys
from pathlib import Path

from app.asgi import create_app
from app.config import Settings
from clients.python.generating.operations import Operation, operations_of
from clients.python.generating.types import Answers, Requests

PLACE = Path(__file__).parent / "src" / "tocsin"
OUTSIDE = frozenset({"signIn", "signOut"})
"""What is for browsers only: a program sends its key with each request."""


def generated() -> dict[str, str]:
    """Return the text of each module, by the name of its file."""
    app = create_app(Settings(database_url="postgres://nobody@127.0.0.1/nowhere"))
    answers, requests = Answers(), Requests()
    operations = [
        one.written(answers, requests)
        for one in sorted(operations_of(app), key=lambda one: one.name)
        if one.id not in OUTSIDE
    ]
    texts = {
        "operations.py": Operation.module(operations),
        "answers.py": answers.module(),
        "requests.py": requests.module(),
    }
    return {name: formatted(PLACE / name, text) for name, text in texts.items()}


def formatted(file: Path, text: str) -> str:
    """Format a module as `make fmt` does."""
    for command in (("check", "--fix", "--exit-zero", "--quiet"), ("format", "--quiet")):
        ruff = (sys.executable, "-m", "ruff", *command, "--stdin-filename", file, "-")
        done = subprocess.run(ruff, input=text, capture_output=True, check=True, text=True)  # noqa: S603 - our own
        text = done.stdout
    return text


if __name__ == "__main__":
    for name, text in generated().items():
        (PLACE / name).write_text(text, "utf-8")
