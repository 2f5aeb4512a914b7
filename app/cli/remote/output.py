"""How commands print what they found: a table for people, JSON, YAML or names for programs."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from app.cli.remote.errors import USAGE, CommandFailed
from app.cli.remote.fields import check_fields
from app.cli.terminal import columns as columns_of_terminal

FORMATS = ("table", "json", "jsonl", "yaml", "name")
ALL_FIELDS = ""
"""The value of `--json` without fields."""
NARROW = 8
"""The fewest characters that a column is cut to."""
LEAST = 0.001
"""The smallest number that is written; less is not worth the digits."""
MOMENT = timedelta(seconds=1)
"""An instant that has only just passed was meant to be now."""
STEPS = ((86_400.0 * 2, 86_400.0, "d"), (3600.0 * 2, 3600.0, "h"), (120.0, 60.0, "min"))


class Output:
    """The format that a command line asks for, and its columns."""

    def __init__(self, format: str, fields: Sequence[str], *, utc: bool) -> None:
        self.format = format
        self.fields = fields
        """The fields to show, with dots inside objects; empty: those of the command."""
        self.utc = utc

    def __repr__(self) -> str:
        return f"<Output as {self.format}, {', '.join(self.fields) or 'usual'} fields>"

    @property
    def is_table(self) -> bool:
        """Whether people read it."""
        return self.format == "table"

    @property
    def is_asked_for(self) -> bool:
        """Whether a format or fields are asked for, rather than what a command prints by itself."""
        return not self.is_table or bool(self.fields)

    @property
    def zone(self) -> str:
        """The zone in which instants are shown, in short: as its clocks are called now."""
        return "UTC" if self.utc else str(datetime.now().astimezone().tzname())

    def print_list(
        self, items: Iterable[dict[str, Any]], columns: Sequence[str], *, empty: str | None = None
    ) -> None:
        """Print items, in a table with these columns; `empty` says that there are none."""
        match self.format:
            case "jsonl":
                for one in items:
                    print_line(in_json(self.picked(one), indent=None))
            case "name":
                for one in items:
                    print_line(name_of(one))
            case "table":
                found = list(items)
                if found:
                    self.print_table(found, self.fields or columns)
                elif empty:
                    print_note(empty)
            case _:
                self.print_document([self.picked(one) for one in items])

    def print_one(self, item: dict[str, Any], fields: Sequence[str] | None = None) -> None:
        """Print one item: in a table, its fields one below the other, empty ones left out."""
        match self.format:
            case "name":
                print_line(name_of(item))
            case "table":
                shown = self.fields or fields or list(item)
                rows = {name: field(item, name) for name in shown}
                kept = {name: one for name, one in rows.items() if one not in (None, [], {}, "")}
                width = max(map(len, kept), default=0)
                for name, one in kept.items():
                    print_line(f"{name.ljust(width)}  {self.text(one)}")
            case "jsonl":
                print_line(in_json(self.picked(item), indent=None))
            case _:
                self.print_document(self.picked(item))

    def print_document(self, document: object) -> None:
        """Print JSON or YAML."""
        print_line(in_yaml(document) if self.format == "yaml" else in_json(document, indent=2))

    def picked(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return the fields that are asked for; all of them if none are."""
        if not self.fields:
            return item
        return {name: field(item, name) for name in self.fields}

    def print_table(self, items: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
        """Print a line for each item; on a terminal cut to its width, else whole."""
        rows = [[self.text(field(item, name)) for name in columns] for item in items]
        heads = [self.head(name, items) for name in columns]
        widths = [
            max(len(head), *(len(row[number]) for row in rows)) for number, head in enumerate(heads)
        ]
        if sys.stdout.isatty():
            widths = fitted(widths, columns_of_terminal())
        for row in [heads, *rows]:
            cells = [cut(one, width).ljust(width) for one, width in zip(row, widths, strict=True)]
            print_line("  ".join(cells).rstrip())

    def head(self, name: str, items: Sequence[dict[str, Any]]) -> str:
        """Return the head of a column, with the zone in which its instants are shown."""
        said = name.replace("_", " ").upper()
        if any(instant(field(item, name)) for item in items):
            return f"{said} ({self.zone})"
        return said

    def text(self, one: object) -> str:
        """Write a value for people, in one line."""
        at = instant(one)
        if at is not None:
            local = at.astimezone(UTC if self.utc else None)
            own = "" if local.tzname() == self.zone else f" {local:%Z}"  # in summer, seen in winter
            return f"{local:%Y-%m-%d %H:%M:%S}{own} ({relative(at, now=datetime.now(UTC))})"
        match one:
            case None:
                return "-"
            case bool():
                return "yes" if one else "no"
            case float():
                return number(one)
            case list() if all(isinstance(each, str) for each in one):
                said = ", ".join(one)
            case list() | dict():
                said = json.dumps(one, ensure_ascii=False)
            case _:
                said = str(one)
        return "".join(each if each.isprintable() else "\ufffd" for each in said)


def print_line(text: str) -> None:
    """Print to stdout; end quietly if nothing reads it any more, as in `| head`."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def print_note(text: str) -> None:
    """Print to stderr what is no part of the output."""
    print(text, file=sys.stderr, flush=True)


def in_json(document: object, *, indent: int | None) -> str:
    return json.dumps(document, ensure_ascii=False, indent=indent)


def in_yaml(document: object) -> str:
    from app.cli.remote.yaml_reader import written

    return written(document).rstrip("\n")


def field(item: object, name: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Return a field of an item; `a.b` is b inside a, null if either is missing."""
    for part in name.split("."):
        item = item.get(part) if isinstance(item, dict) else None
    return item


def name_of(item: dict[str, Any]) -> str:
    """Return the name by which another command finds an item again."""
    names = ("name", "flow_key", "id", "job_id", "subject")
    return str(next(filter(None, map(item.get, names)), None))


def instant(one: object) -> datetime | None:
    """Read an instant as the API writes it; None for anything else."""
    if not (isinstance(one, str) and len(one) >= 20 and one[10] == "T" and one.endswith("Z")):  # noqa: PLR2004
        return None
    try:
        return datetime.fromisoformat(one)
    except ValueError:
        return None


def note_past(made: dict[str, Any]) -> None:
    """Say on stderr of a job that was just written that its instant has passed."""
    at, written = instant(made.get("run_at")), instant(made.get("updated_at"))
    if at and written and at < written - MOMENT and made.get("next_run"):
        print_note("note: its run_at has passed, so its run is due at once")


def number(one: float) -> str:
    """Write a number, such as seconds, to the microsecond, and never with an exponent."""
    if 0 < one < LEAST:
        return f"<{LEAST}"
    return f"{one:.6f}".rstrip("0").rstrip(".")


def relative(at: datetime, *, now: datetime) -> str:
    """Say how far an instant is away, such as "in 3 h" or "2 d ago"."""
    seconds = (at - now).total_seconds()
    size = abs(seconds)
    number, unit = next(
        ((size / one, name) for least, one, name in STEPS if size >= least), (size, "s")
    )
    return f"in {number:.0f} {unit}" if seconds >= 0 else f"{number:.0f} {unit} ago"


def fitted(widths: Sequence[int], room: int) -> list[int]:
    """Cut the widest columns until all fit into so many characters, two between each."""
    kept = list(widths)
    while sum(kept) + 2 * (len(kept) - 1) > room and max(kept) > NARROW:
        kept[kept.index(max(kept))] -= 1
    return kept


def cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def fields_of(value: str | None) -> list[str]:
    """Split the value of `--json` or `--columns`."""
    return [one.strip() for one in (value or "").split(",") if one.strip()]


Shown = str | Callable[[Output, Mapping[str, Any]], str | None] | None
"""What a command prints, as in `FIELDS`: this, or by its options; None: nothing that has fields."""


def output_of(
    shown: Shown,
    given: Mapping[str, Any],
    *,
    format: str | None,
    json_fields: str | None,
    columns: str | None,
    utc: bool,
) -> Output:
    """Return the output that the options `--output`, `--json`, `--columns` and `--utc` ask for.

    `shown`, `given`: what is printed, by the command's own options, whose fields are judged.

    Raises:
        CommandFailed: the options contradict each other, or name a field that is not there.
    """
    if json_fields is not None and (columns or format not in (None, "json", "jsonl")):
        message = "--json says format and fields: leave --columns and --output out"
        raise CommandFailed(message, exit_code=USAGE)
    said = format or ("table" if json_fields is None else "json")
    output = Output(said, fields_of(json_fields or columns), utc=utc)
    printed = shown(output, given) if callable(shown) else shown
    if printed is not None:
        check_fields(output.fields, printed)
    return output
