"""Words that do not change: problems, outcomes, states, events of alerts, exit codes."""

from collections.abc import Iterator
from enum import StrEnum

from app.api.problems import KINDS, REFUSALS, TYPE_PREFIX
from app.cli.remote import errors
from app.core.alerts.rules import Event
from app.core.jobs.job import JobState
from app.core.runs.claim import Misfire, OnClosed, Overlap
from app.core.runs.outcome import Outcome
from app.core.schedule.schedule import DstGap, DstOverlap
from handbook.tables import code, described_attributes, first_paragraph, table

CHOICES: dict[str, type[StrEnum]] = {
    "misfire": Misfire,
    "overlap": Overlap,
    "on_closed": OnClosed,
    "dst_gap": DstGap,
    "dst_overlap": DstOverlap,
}


def problem_rows() -> Iterator[tuple[str, str, str, str]]:
    """Yield a row for each problem: status, type, title, meaning."""
    for cls, kind in KINDS.items():
        yield (
            str(kind.status),
            code(TYPE_PREFIX + kind.slug),
            kind.title,
            first_paragraph(cls.__doc__),
        )
    for kind in REFUSALS.values():
        yield str(kind.status), code(TYPE_PREFIX + kind.slug), kind.title, ""
    yield "500", code(f"{TYPE_PREFIX}internal-error"), "Tocsin failed", "A bug: the log says where."


def values(words: type[StrEnum]) -> str:
    """Return the table of an enumeration."""
    said = described_attributes(words)
    return table(("word", "meaning"), [(code(one.value), said.get(one.name, "")) for one in words])


def exit_codes() -> list[tuple[str, str]]:
    """Return the exit codes of commands by number."""
    named = {
        value: name.lower().replace("_", " ")
        for name, value in vars(errors).items()
        if name.isupper() and isinstance(value, int)
    }
    return [("0", "done"), *((str(value), name) for value, name in sorted(named.items()))]


def words_page() -> str:
    """Return the page of all words that programs may rely on."""
    parts = [
        "# Words",
        "Words that programs may rely on.",
        "## Problems",
        (
            "Every error of the API is a problem (RFC 9457) of one of these types; `errors` names "
            "fields and what to write instead. "
            "[When something is wrong](../api.md#when-something-is-wrong) has an example."
        ),
        table(("status", "type", "title", "meaning"), sorted(problem_rows())),
        "## Outcomes",
        "How an execution ended. Its `reason` says more: [reasons](../targets.md#reasons).",
        values(Outcome),
        "## States",
        "How a job stands; why, says [explain](../api.md#why-has-it-not-run).",
        values(JobState),
        "## Events of alerts",
        "What an alert rule may tell of: [alerts](../alerts.md#rules).",
        values(Event),
        "## Choices of a job",
    ]
    for name, words in CHOICES.items():
        parts += [f"### {code(name)}", values(words)]
    parts += [
        "## Exit codes",
        "Of `tocsin`: [what they mean](../cli.md#for-programs).",
        table(("code", "name"), exit_codes()),
    ]
    return "\n\n".join(parts)
