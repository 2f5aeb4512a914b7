"""What is exported is what was there: a job written as files have it is read back as it was."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET, to_builtins
from msgspec.structs import replace

from app.cli.remote.output import in_yaml
from app.cli.remote.yaml_reader import read_document
from app.core.jobs.exact_json import same
from app.core.jobs.job import JobDocument
from app.core.runs.claim import Misfire, OnClosed, Overlap
from app.core.sets.differences import changes
from app.core.sets.shorthand import at_length, kind_in
from app.core.sets.written import written_job
from app.jobs.set_input import job_of
from app.targets.registry import KINDS

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
OBJECT = st.dictionaries(TEXT, JSON, max_size=3)
INSTANT = st.datetimes(datetime(2030, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
SCHEDULE = (
    st.fixed_dictionaries({"cron": st.sampled_from(["0 3 * * *", "@daily", "*/5 * * * 1-5"])})
    | st.fixed_dictionaries({"every_seconds": st.floats(1, 1e6)})
    | st.fixed_dictionaries({"run_at": INSTANT})
)
REST = st.fixed_dictionaries(
    {},
    optional={
        "description": st.none() | TEXT,
        "tags": st.lists(
            st.text(st.characters(codec="utf-8", exclude_characters="\0,"), min_size=1, max_size=9),
            max_size=3,
        ).map(tuple),
        "metadata": OBJECT,
        "timezone": st.sampled_from(["UTC", "Europe/Paris"]),
        "starts_at": st.none() | INSTANT,
        "max_runs": st.none() | st.integers(1, 9),
        "max_attempts": st.integers(1, 9),
        "backoff_seconds": st.floats(1, 99),
        "misfire": st.sampled_from(Misfire),
        "overlap": st.sampled_from(Overlap),
        "priority": st.integers(0, 3),
        "calendars": st.none() | st.just(("office", "!holidays")),
        "on_closed": st.sampled_from(OnClosed),
    },
)


@settings(max_examples=50)
@given(kind=st.sampled_from(["http", "amqp", "of-others"]), target=OBJECT, when=SCHEDULE, rest=REST)
def test_an_exported_job_is_read_back_as_it_was(
    kind: str, target: dict[str, Any], when: dict[str, Any], rest: dict[str, Any]
) -> None:
    job = JobDocument(name="a", kind=kind, target=target, **when, **rest)
    answered = to_builtins(replace(job, paused=False))

    text = in_yaml({"jobs": {"a": written_job(answered)}})
    read = read_document(text, "f.yaml").value["jobs"]["a"]
    back = to_builtins(replace(read_back(read), paused=UNSET))

    before = to_builtins(replace(job, paused=UNSET))
    assert [(one.field, one.before, one.after) for one in changes(before, back, None)] == []
    assert same(back, before)


def read_back(written: dict[str, Any]) -> JobDocument:
    """Read a job of a file, but for the checks of its target."""
    whole = at_length(written, kind_in(written, [*KINDS, "of-others"]))
    target = whole.pop("target")
    return replace(
        job_of("a", whole | {"target": {}, "kind": "check"}), target=target, kind=whole["kind"]
    )
