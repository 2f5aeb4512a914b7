"""Cursors and entity tags."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from app.errors import InvalidInput
from app.jobs.etag import etag, matches
from app.wire.filters import listed
from app.wire.pages import EXECUTIONS, JOBS, JOBS_BY_NEXT_RUN, in_base64

ID = UUID("01a20b8a-bff9-74d9-850d-71f7929b30ee")
NOW = datetime(2026, 11, 24, 12, 0, 0, 123_456, tzinfo=UTC)


def test_a_cursor_leads_back_to_where_the_page_ended() -> None:
    assert JOBS.read(JOBS.write(ID)) == ID
    assert EXECUTIONS.read(EXECUTIONS.write(2**63 - 1)) == 2**63 - 1
    assert JOBS_BY_NEXT_RUN.read(JOBS_BY_NEXT_RUN.write((NOW, ID))) == (NOW, ID)


@pytest.mark.parametrize("moment", [2**63 - 1, -1, -(2**63)])
def test_a_cursor_with_an_instant_that_cannot_be_is_refused(moment: int) -> None:
    forged = in_base64(b"n" + moment.to_bytes(8, signed=True) + ID.bytes)

    with pytest.raises(InvalidInput, match="next_cursor"):
        JOBS_BY_NEXT_RUN.read(forged)


@pytest.mark.parametrize("nothing", [None, ""])
def test_no_cursor_is_the_first_page(nothing: str | None) -> None:
    assert JOBS.read(nothing) is None
    assert EXECUTIONS.read(nothing) is None


@pytest.mark.parametrize(
    "cursor",
    ["x", "....", "ä", EXECUTIONS.write(5), JOBS.write(ID)[:-1], f"{JOBS.write(ID)}A", "=" * 30],
)
def test_what_is_no_cursor_of_the_list_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidInput, match="next_cursor"):
        JOBS.read(cursor)


def test_a_cursor_of_jobs_is_none_of_executions() -> None:
    with pytest.raises(InvalidInput, match="next_cursor"):
        EXECUTIONS.read(JOBS.write(ID))


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (None, None),
        ([""], None),
        (["a"], ["a"]),
        (["a,b"], ["a", "b"]),
        (["a", "b, c", ","], ["a", "b", "c"]),
    ],
)
def test_several_values_are_repeated_or_have_commas(
    values: list[str] | None, found: list[str] | None
) -> None:
    assert listed(values) == found


def test_the_least_difference_of_time_is_another_tag() -> None:
    assert etag(NOW) == etag(NOW)
    assert etag(NOW) != etag(NOW + timedelta(microseconds=1))
    assert etag(NOW)[0] == etag(NOW)[-1] == '"'


@pytest.mark.parametrize(
    ("if_match", "expected"),
    [
        (etag(NOW), True),
        (f"W/{etag(NOW)}", True),
        (f'"x", {etag(NOW)}', True),
        ("*", True),
        ('"x"', False),
        ("", False),
        (etag(NOW).strip('"'), False),
    ],
)
def test_if_match_names_versions(if_match: str, expected: bool) -> None:  # noqa: FBT001
    assert matches(if_match, NOW) == expected
