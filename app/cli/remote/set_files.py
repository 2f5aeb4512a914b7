"""Files that declare jobs: read with the line and column of each field, and put together."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from app.cli.remote.errors import USAGE, CommandFailed
from app.cli.remote.reading import read_text
from app.cli.remote.yaml_reader import Document, YamlError, read_document
from app.core.jobs.job import DOCUMENT_FIELDS
from app.core.sets.shorthand import completed, defaults_for, steps_of

SUFFIXES = (".yaml", ".yml", ".json")
SECTIONS = ("jobs", "calendars", "flows", "channels", "rules")
"""What a set has, each by name."""
KNOWN = ("set", "env", "defaults", *SECTIONS)
NAMED = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
"""A reference to a variable of the environment; one to a secret has a colon."""


class SetFiles:
    """One set, put together from files.

    Raises:
        CommandFailed: a file cannot be read, or the files do not go together.
    """

    def __init__(self, paths: Sequence[str], *, set_name: str | None = None) -> None:
        self.files = [read_file(path) for path in found(paths)]
        self.sources: dict[tuple[str, str], Document] = {}
        """Which file has a member, by section and name."""
        self.set_source: Document | None = None
        self.name = set_name
        self.body: dict[str, Any] = {}
        for one in self.files:
            self.add(one)
        if self.name is None:
            message = "no file says which set this is: write `set: NAME` in one, or give --set NAME"
            raise CommandFailed(message, exit_code=USAGE)
        self.body["set"] = self.name

    def __repr__(self) -> str:
        return f"<SetFiles of {self.name!r}: {len(self.files)} files>"

    def add(self, file: Document) -> None:
        """Add what a file has."""
        content = file.value
        if not isinstance(content, dict):
            raise refused(file, [], "has no fields: write `jobs:` and jobs below it")
        for name in content:
            if name not in KNOWN:
                known = ", ".join(KNOWN)
                raise refused(file, [name], f"{name}: unknown field: there are {known}")
        self.name_by(file, content.get("set"))
        content = with_variables(file, content)
        defaults = content.get("defaults") or {}
        if not isinstance(defaults, dict):
            raise refused(file, ["defaults"], "defaults: must be fields of jobs")
        check_defaults(file, defaults, content.get("jobs") or {})
        for section in SECTIONS:
            members = content.get(section) or {}
            if not isinstance(members, dict):
                raise refused(file, [section], f"{section}: must have names, each with fields")
            for name, member in members.items():
                self.add_member(file, section, str(name), member, defaults)

    def name_by(self, file: Document, given: object) -> None:
        """Take over the name of the set."""
        if given is None:
            return
        if not isinstance(given, str):
            raise refused(file, ["set"], "set: must be a text")
        if self.name is not None and given != self.name:
            where = f" in {self.set_source.name}" if self.set_source else " by --set"
            message = f"set: is {given!r}, and {self.name!r}{where}: apply one set at a time"
            raise refused(file, ["set"], message)
        self.name, self.set_source = given, file

    def add_member(
        self, file: Document, section: str, name: str, member: object, defaults: dict[str, Any]
    ) -> None:
        """Add a job or the like; a job completed by the defaults of its file."""
        if earlier := self.sources.get((section, name)):
            place = ":".join(map(str, earlier.place([section, name])))
            raise refused(file, [section, name], f"{section}.{name}: is there already: {place}")
        if section == "jobs" and isinstance(member, dict):
            member = completed(defaults_for(defaults, member, kinds_among(defaults)), member)
        self.sources[section, name] = file
        self.body.setdefault(section, {})[name] = member

    def place(self, field: str) -> tuple[str, int, int] | None:
        """Say where a field of the set stands: file, line, column; None if no file has it."""
        steps = steps_of(field)
        if len(steps) < 2 or (file := self.sources.get((str(steps[0]), str(steps[1])))) is None:  # noqa: PLR2004
            file = self.set_source or (self.files[0] if self.files else None)
            return file.place(steps) if file else None
        if steps[0] == "jobs" and len(steps) > 2 and not file.has(steps[:3]):  # noqa: PLR2004
            by_default = ["defaults", *steps[2:]]
            if file.has(by_default[:2]):
                return file.place(by_default)
        return file.place(steps)


def kinds_among(defaults: Mapping[str, Any]) -> set[str]:
    """Return the defaults that are of a kind: no field of jobs, and an object."""
    unknown = defaults.keys() - {*DOCUMENT_FIELDS}
    return {name for name in unknown if isinstance(defaults[name], dict)}


def check_defaults(file: Document, defaults: Mapping[str, Any], jobs: object) -> None:
    """Refuse a default of what is neither a field nor a kind, which would count for no job.

    Raises:
        CommandFailed: naming it.
    """
    written = (
        [one for one in jobs.values() if isinstance(one, dict)] if isinstance(jobs, dict) else []
    )
    for name in sorted(kinds_among(defaults)):
        if any(name in one for one in written):
            continue
        from app.targets.registry import KINDS

        if name not in KINDS:
            message = f"defaults.{name}: is no field of jobs, and no job here has it"
            raise refused(file, ["defaults", name], message)


def found(paths: Sequence[str]) -> Iterator[str]:
    """List the files, and those in directories, in the order of their names."""
    for path in paths:
        if path == "-" or not Path(path).is_dir():
            yield path
            continue
        inside = sorted(
            str(one)
            for one in Path(path).rglob("*")
            if one.suffix in SUFFIXES
            and one.is_file()
            and not any(part.startswith(".") for part in one.relative_to(path).parts)
        )
        if not inside:
            message = f"{path} has no file that ends in {', '.join(SUFFIXES)}"
            raise CommandFailed(message, exit_code=USAGE)
        yield from inside


def read_file(path: str) -> Document:
    """Read a file.

    Raises:
        CommandFailed: it cannot be read, or is neither YAML nor JSON.
    """
    try:
        return read_document(read_text(path), "stdin" if path == "-" else path)
    except YamlError as error:
        raise CommandFailed(str(error), exit_code=USAGE) from error


def with_variables(file: Document, content: dict[str, Any]) -> dict[str, Any]:
    """Put the variables that `env` names into texts: `${NAME}`."""
    names = content.get("env") or []
    if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
        raise refused(file, ["env"], "env: must be a list of names of variables")
    for index, name in enumerate(names):
        if name not in os.environ:
            raise refused(file, ["env", index], f"env: the variable {name} is not set")
    if not names:
        return content
    values = {name: os.environ[name] for name in names}
    return {name: filled(one, values) for name, one in content.items() if name != "env"}


def filled(value: Any, values: Mapping[str, str]) -> Any:  # noqa: ANN401 - any JSON
    """Fill the variables in, at any depth."""
    match value:
        case str():
            return NAMED.sub(lambda found: values.get(found[1], found[0]), value)
        case dict():
            return {name: filled(one, values) for name, one in value.items()}
        case list():
            return [filled(one, values) for one in value]
        case _:
            return value


def refused(file: Document, steps: Sequence[str | int], message: str) -> CommandFailed:
    """Refuse a file, at a field."""
    name, line, column = file.place(steps)
    return CommandFailed(f"{name}:{line}:{column}: {message}", exit_code=USAGE)
