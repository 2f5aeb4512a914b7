"""Ids that are ordered by time."""

from datetime import UTC, datetime, timedelta
from uuid import RFC_4122

from app.core.jobs.identity import EPOCH, uuid7

NOW = datetime(2026, 11, 24, 12, 0, 0, 123_456, tzinfo=UTC)
ALL_ONES = (1 << 62) - 1


def test_an_id_is_a_uuid_of_version_7() -> None:
    id = uuid7(NOW, random=ALL_ONES)

    assert (id.version, id.variant) == (7, RFC_4122)


def test_an_id_holds_its_milliseconds_and_their_fraction() -> None:
    id = uuid7(NOW, random=0)

    assert id.int >> 80 == (NOW - EPOCH) // timedelta(milliseconds=1)
    assert (id.int >> 64) & 0xFFF == 456 * 4096 // 1000


def test_ids_are_ordered_by_time_down_to_the_microsecond() -> None:
    moments = [NOW, NOW + timedelta(microseconds=1), NOW + timedelta(milliseconds=1)]

    ids = [uuid7(now, random=ALL_ONES - n) for n, now in enumerate(moments)]

    assert ids == sorted(ids)


def test_the_same_moment_has_as_many_ids_as_there_are_random_numbers() -> None:
    assert uuid7(NOW, random=1) != uuid7(NOW, random=2)
    assert uuid7(NOW, random=1) == uuid7(NOW, random=1 + (1 << 62))
