"""Why a command failed, and the exit code that says so to scripts."""

import json
import sys
from typing import Any

FAILED, USAGE, NOT_FOUND, DENIED, UNREACHABLE, CONFLICT, DIFFERS = 1, 2, 3, 4, 5, 6, 7

EXIT_CODES = {
    400: USAGE,
    401: DENIED,
    403: DENIED,
    404: NOT_FOUND,
    409: CONFLICT,
    412: CONFLICT,
    413: USAGE,
    422: USAGE,
    502: UNREACHABLE,
    503: UNREACHABLE,
    504: UNREACHABLE,
}
"""By the status of an answer; 1 for any other that is an error."""


class CommandFailed(Exception):
    """A command failed, for a reason that a person can read and a program can tell apart.

    `problem`: the problem (RFC 9457) that the API answered, if it did.
    """

    as_json = False
    """Whether errors are written as JSON: the process has one command, which decides it."""

    def __init__(
        self, message: str, *, exit_code: int = FAILED, problem: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.problem = problem

    @classmethod
    def answered(cls, status: int, problem: dict[str, Any]) -> "CommandFailed":
        """Word a problem that the API answered."""
        errors = problem.get("errors") or []
        named = [f"{one.get('field')}: {one.get('message')}" for one in errors]
        said = "; ".join(named) or str(problem.get("detail") or problem.get("title") or status)
        if status == 401 and "Authorization" in said:  # noqa: PLR2004 - it lacks a key
            said = (
                "the API wants a key: set TOCSIN_API_KEY, or save it by `tocsin login`; "
                "`tocsin keys create` makes one"
            )
        return cls(said, exit_code=EXIT_CODES.get(status, FAILED), problem=problem)

    def line(self) -> str:
        """Word the error in one line: for people, or in JSON."""
        if CommandFailed.as_json:
            problem = self.problem or {"detail": str(self)}
            return json.dumps({"exit_code": self.exit_code, **problem}, ensure_ascii=False)
        return f"tocsin: {self}"

    def write(self) -> None:
        """Write the error to stderr."""
        print(self.line(), file=sys.stderr)
