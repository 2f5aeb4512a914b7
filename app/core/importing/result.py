"""What an import comes to: jobs, and what could not be one."""

import re
from collections.abc import Collection
from typing import Any

from msgspec import Struct, field

from app.core.importing.shown import shown


class Left(Struct, frozen=True, kw_only=True):
    """What was left out, and why."""

    line: int
    """In a file its line, in a table its ordinal; from 1."""
    text: str
    why: str


class Imported(Struct, kw_only=True):
    """What an import comes to, in the form of files with jobs."""

    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    """Fields that a job has unless it has others; in the file they stand once."""
    rules: dict[str, dict[str, Any]] = field(default_factory=dict)
    left: list[Left] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What one has to know before it is applied."""

    def leave(self, line: int, text: str, why: str) -> None:
        """Note what is left out, and why, without the secrets that it has."""
        self.left.append(Left(line=line, text=shown(text), why=shown(why)))

    def document(self, set_name: str, *, timezone: str | None) -> dict[str, Any]:
        """Return the file."""
        document: dict[str, Any] = {"set": set_name}
        if defaults := ({"timezone": timezone} if timezone else {}) | self.defaults:
            document["defaults"] = defaults
        same = defaults.items()
        document["jobs"] = {
            name: {one: value for one, value in job.items() if (one, value) not in same}
            for name, job in self.jobs.items()
        }
        if self.rules:
            document["rules"] = self.rules
        return document


def unique_name(name: str, taken: Collection[str]) -> str:
    """Return a name that is not taken: with a number, if need be."""
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    return found


class Secrets:
    """The secrets of one import, by the names that they are to have; no value is written out."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"<Secrets: {len(self.values)} names>"

    def reference(self, host: str, what: str, value: str, notes: list[str]) -> str:
        """Return the reference to a secret to be set, and note that it has to be.

        Two values have two names, the second one with a number, also if they are for the same host.
        """
        stem = re.sub(r"[^a-z0-9]+", "-", f"{host}-{what}".lower()).strip("-")
        number, name = 1, stem
        while self.values.setdefault(name, value) != value:
            number += 1
            name = f"{stem}-{number}"
        notes.append(
            f"has a secret: set it with `tocsin secrets set {name}`, it is not in the file"
        )
        return f"${{secret:{name}}}"
